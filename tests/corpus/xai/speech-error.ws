{"type":"error","message":"sample_rate must be one of 8000, 16000, 24000"}

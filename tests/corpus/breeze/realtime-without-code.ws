{"type":"error","message":"Realtime TTS session failed."}

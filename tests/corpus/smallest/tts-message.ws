{"status":"error","message":"Audio data too large"}

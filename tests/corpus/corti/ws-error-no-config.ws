{"type":"error","error":{"details":"No valid configuration provided for interaction"}}

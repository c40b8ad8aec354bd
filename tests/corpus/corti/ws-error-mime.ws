{"type":"error","error":{"details":"MIME type not supported: audio/x"}}

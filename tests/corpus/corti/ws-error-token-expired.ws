{"type":"error","error":{"details":"The token has expired"}}

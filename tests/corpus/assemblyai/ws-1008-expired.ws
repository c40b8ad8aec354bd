{"type":"Error","error_code":1008,"error":"Unauthorized Connection: The token has expired"}

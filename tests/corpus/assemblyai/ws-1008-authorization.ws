{"type":"Error","error_code":1008,"error":"Unauthorized Connection: Missing Authorization header"}

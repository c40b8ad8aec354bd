{"type":"Error","error_code":1008,"error":"Unauthorized Connection: Too many concurrent sessions"}

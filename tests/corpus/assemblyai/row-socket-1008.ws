{"type":"Error","error_code":1008,"error":"It was refused"}

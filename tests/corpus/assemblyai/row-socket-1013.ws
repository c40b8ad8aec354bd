{"type":"Error","error_code":1013,"error":"It was refused"}

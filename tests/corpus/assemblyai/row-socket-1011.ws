{"type":"Error","error_code":1011,"error":"It was refused"}

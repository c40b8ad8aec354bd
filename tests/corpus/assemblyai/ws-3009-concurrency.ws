{"type":"Error","error_code":3009,"error":"Too many concurrent sessions"}

{"type":"Error","error_code":3006,"error":"Invalid Message Type: Foo"}

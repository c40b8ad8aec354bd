{"type":"error","error_event":{"code":1008,"error_type":"value_error","message":"Value error."}}

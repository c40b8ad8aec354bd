{"type":"error","error_event":{"code":1008,"error_type":"missing_fields","message":"Missing fields."}}

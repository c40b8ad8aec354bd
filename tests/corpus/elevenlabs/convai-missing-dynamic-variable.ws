{"type":"error","error_event":{"code":1008,"error_type":"missing_dynamic_variable","message":"Missing dynamic variable."}}

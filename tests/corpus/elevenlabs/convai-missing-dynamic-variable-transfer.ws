{"type":"error","error_event":{"code":1011,"error_type":"missing_dynamic_variable_transfer","message":"Missing dynamic variable transfer."}}

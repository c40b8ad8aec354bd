{"type":"error","error_event":{"code":1011,"error_type":"http_exception","message":"Http exception."}}

{"type":"error","error_event":{"code":1011,"error_type":"unknown","message":"Unknown."}}

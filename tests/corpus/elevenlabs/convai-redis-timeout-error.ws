{"type":"error","error_event":{"code":1011,"error_type":"redis_timeout_error","message":"Redis timeout error."}}

{"type":"error","error_event":{"code":1011,"error_type":"turn_probability_error","message":"Turn probability error."}}

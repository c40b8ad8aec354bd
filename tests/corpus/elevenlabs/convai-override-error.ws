{"type":"error","error_event":{"code":1008,"error_type":"override_error","message":"Override error."}}

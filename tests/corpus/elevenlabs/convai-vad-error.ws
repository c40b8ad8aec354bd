{"type":"error","error_event":{"code":1011,"error_type":"vad_error","message":"Vad error."}}

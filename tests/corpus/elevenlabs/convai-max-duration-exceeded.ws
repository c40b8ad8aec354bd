{"type":"error","error_event":{"code":1000,"error_type":"max_duration_exceeded","message":"Max duration exceeded."}}

{"type":"error","error_event":{"code":1008,"message":"Override for field 'first_message' is not allowed by config."}}

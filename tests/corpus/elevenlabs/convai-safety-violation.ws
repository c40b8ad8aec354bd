{"type":"error","error_event":{"code":1008,"error_type":"safety_violation","message":"Safety violation."}}

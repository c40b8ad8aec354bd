{"type":"error","error_event":{"code":1008,"error_type":"invalid_message","message":"Invalid message."}}

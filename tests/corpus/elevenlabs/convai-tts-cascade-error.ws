{"type":"error","error_event":{"code":1011,"error_type":"tts_cascade_error","message":"Tts cascade error."}}

{"type":"error","error_event":{"code":1011,"error_type":"custom_llm_error","message":"Custom llm error."}}

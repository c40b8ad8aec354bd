{"type":"error","error_event":{"code":1011,"error_type":"llm_error","message":"Llm error."}}

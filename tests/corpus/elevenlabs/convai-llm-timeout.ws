{"type":"error","error_event":{"code":1011,"error_type":"llm_timeout","message":"Llm timeout."}}

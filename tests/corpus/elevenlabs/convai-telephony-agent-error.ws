{"type":"error","error_event":{"code":1011,"error_type":"telephony_agent_error","message":"Telephony agent error."}}

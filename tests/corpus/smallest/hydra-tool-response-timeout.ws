{"type":"error","event_id":"ev_1","error":{"type":"tool_response_timeout","code":null,"message":"It could not be done.","param":null,"event_id":null}}

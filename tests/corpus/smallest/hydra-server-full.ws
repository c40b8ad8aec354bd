{"type":"error","event_id":"ev_1","error":{"type":"server_full","code":null,"message":"It could not be done.","param":null,"event_id":null}}

{"type":"error","event_id":"ev_1","error":{"type":"invalid_frame","code":null,"message":"It could not be done.","param":null,"event_id":null}}

{"type":"error","event_id":"event_1","error":{"type":"rate_limit_error","code":"rate_limit_exceeded","message":"Rate limit reached. Please try again in 1.5s.","param":null,"event_id":"evt_client"}}

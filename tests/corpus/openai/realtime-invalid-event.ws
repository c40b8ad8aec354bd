{"type":"error","event_id":"event_1","error":{"type":"invalid_request_error","code":"invalid_event","message":"The 'type' field is missing.","param":null,"event_id":"evt_client"}}

{"type":"error","event_id":"e1","error":{"type":"invalid_request_error","code":"not-found","message":"No such session."}}

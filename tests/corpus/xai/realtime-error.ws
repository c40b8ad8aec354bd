{"type":"error","event_id":"e1","error":{"type":"invalid_request_error","code":"unauthenticated","message":"The session is not authenticated."}}

{"type":"error","error":{"type":"invalid_request_error","message":"The session cannot go on."},"request_id":"req_9"}

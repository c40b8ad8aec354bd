{"type":"error","error":{"type":"rate_limit_error","message":"The session cannot go on."},"request_id":"req_9"}

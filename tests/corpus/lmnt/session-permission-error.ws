{"type":"error","error":{"type":"permission_error","message":"The session cannot go on."},"request_id":"req_9"}

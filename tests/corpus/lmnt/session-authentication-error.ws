{"type":"error","error":{"type":"authentication_error","message":"The session cannot go on."},"request_id":"req_9"}

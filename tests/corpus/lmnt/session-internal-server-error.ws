{"type":"error","error":{"type":"internal_server_error","message":"The session cannot go on."},"request_id":"req_9"}

{"type":"error","error":{"type":"not_found_error","message":"The session cannot go on."},"request_id":"req_9"}

{"type":"error","error":{"type":"payment_required_error","message":"The session cannot go on."},"request_id":"req_9"}

{"message_type":"auth_error","error":"You must be authenticated to use this endpoint."}

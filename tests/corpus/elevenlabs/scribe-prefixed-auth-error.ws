{"message_type":"scribe_auth_error","error":"It failed."}

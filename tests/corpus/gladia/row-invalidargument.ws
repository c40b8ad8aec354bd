{"type":"translation","session_id":"s","error":{"status_code":400,"exception":"InvalidArgument","message":"It was refused."},"data":null}

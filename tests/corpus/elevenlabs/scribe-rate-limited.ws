{"message_type":"rate_limited","error":"Rate limited."}

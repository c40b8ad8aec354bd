{"message_type":"invalid_request","error":"Unknown commit strategy."}

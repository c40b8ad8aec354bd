{"message_type":"quota_exceeded","error":"You have exceeded your quota."}

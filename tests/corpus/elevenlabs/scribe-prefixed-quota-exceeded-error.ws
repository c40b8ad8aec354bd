{"message_type":"scribe_quota_exceeded_error","error":"It failed."}

{"message_type":"scribe_throttled_error","error":"It failed."}

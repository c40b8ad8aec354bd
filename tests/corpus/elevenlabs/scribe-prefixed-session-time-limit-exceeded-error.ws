{"message_type":"scribe_session_time_limit_exceeded_error","error":"It failed."}

{"message_type":"scribe_queue_overflow_error","error":"It failed."}

{"message_type":"queue_overflow","error":"Queue is full."}

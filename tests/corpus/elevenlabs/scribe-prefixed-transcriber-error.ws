{"message_type":"scribe_transcriber_error","error":"It failed."}

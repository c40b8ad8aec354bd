{"message_type":"scribe_chunk_size_exceeded_error","error":"It failed."}

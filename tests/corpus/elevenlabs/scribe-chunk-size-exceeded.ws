{"message_type":"chunk_size_exceeded","error":"Chunk is too large."}

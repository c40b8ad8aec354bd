{"type":"Flushed","sequence_id":1}

{"message_type":"translation_error","error":"Translation failed."}

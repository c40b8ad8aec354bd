{"message_type":"error","error":"Something broke."}

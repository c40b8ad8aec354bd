{"message_type":"commit_throttled","error":"Commit request throttled."}

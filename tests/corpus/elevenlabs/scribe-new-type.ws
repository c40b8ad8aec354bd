{"message_type":"budget_not_ready","error":"Not yet."}

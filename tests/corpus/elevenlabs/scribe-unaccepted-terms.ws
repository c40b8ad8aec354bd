{"message_type":"unaccepted_terms","error":"You must accept the terms of service."}

{"message_type":"scribe_unaccepted_terms_error","error":"It failed."}

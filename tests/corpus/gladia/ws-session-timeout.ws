{"type":"error","session_id":"s","data":{"message":"The session timed out."}}

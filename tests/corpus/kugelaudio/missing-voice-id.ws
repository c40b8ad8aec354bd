{"error":"voice_id is missing","error_code":"MISSING_VOICE_ID","code":400,"request_id":"r-1"}

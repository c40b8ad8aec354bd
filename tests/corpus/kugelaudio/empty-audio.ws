{"error":"No audio was generated","error_code":"EMPTY_AUDIO","code":500,"request_id":"r-1"}

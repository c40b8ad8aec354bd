{"error":"Rate limit exceeded","error_code":"RATE_LIMITED","code":429,"request_id":"r-1","retry_after":3}

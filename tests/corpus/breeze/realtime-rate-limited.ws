{"type":"error","code":"RATE_LIMITED","message":"Rate limit exceeded."}

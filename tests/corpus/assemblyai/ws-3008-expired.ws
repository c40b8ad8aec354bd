{"type":"Error","error_code":3008,"error":"Session Expired: Maximum session duration exceeded"}

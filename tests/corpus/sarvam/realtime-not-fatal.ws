{"event":"error","code":"rate_limit_exceeded_error","is_fatal":false,"message":"Too many requests","status_code":429}

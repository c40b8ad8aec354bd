{"error_message":"Text exceeds the maximum length","error_code":400,"context_id":"c1"}

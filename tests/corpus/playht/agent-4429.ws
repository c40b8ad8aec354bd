{"type":"error","code":4429,"message":"You have reached your maximum concurrent connections limit"}

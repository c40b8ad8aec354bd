{"type":"error","data":{"error":"You have used up your quota","code":"insufficient_quota_error"}}

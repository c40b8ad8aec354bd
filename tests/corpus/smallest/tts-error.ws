{"request_id":"rq_3","status":"error","error":{"message":"Invalid API key","code":"Unauthorized"}}

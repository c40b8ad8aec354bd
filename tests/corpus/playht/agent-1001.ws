{"type":"error","code":1001,"message":"Invalid authorization token"}

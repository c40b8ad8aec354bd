{"type":"error","code":1003,"message":"Invalid authorization credentials"}

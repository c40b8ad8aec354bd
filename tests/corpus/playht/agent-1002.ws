{"type":"error","code":1002,"message":"Invalid agent id"}

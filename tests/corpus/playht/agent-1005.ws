{"type":"error","code":1005,"message":"Not enough credits"}

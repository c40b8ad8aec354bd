{"type":"error","message":"Not enough credits","code":1008}

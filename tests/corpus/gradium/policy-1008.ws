{"type":"error","message":"Policy violation","code":1008}

{"type":"error","message":"Too many sessions are open","code":1008}

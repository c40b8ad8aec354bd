{"type":"error","message":"Malformed setup message","code":1008}

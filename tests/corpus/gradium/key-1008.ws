{"type":"error","message":"Invalid API key","code":1008}

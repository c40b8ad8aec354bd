{"type":"error","message":"Voice YTpq7 not found","code":1008}

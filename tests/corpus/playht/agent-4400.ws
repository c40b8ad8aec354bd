{"type":"error","code":4400,"message":"Invalid parameters"}

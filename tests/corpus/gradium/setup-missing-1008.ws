{"type":"error","message":"Expected a setup message before audio","code":1008}

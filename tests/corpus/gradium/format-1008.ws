{"type":"error","message":"Unsupported output format mp9","code":1008}

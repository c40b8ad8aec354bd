{"type":"error","message":"Internal server error","code":1011}

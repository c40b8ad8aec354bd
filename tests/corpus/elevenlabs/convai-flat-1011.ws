{"type":"error","message":"received 1011 (internal error)"}

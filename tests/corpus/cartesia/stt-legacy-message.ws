{"type":"error","message":"Invalid API key","request_id":"r1"}

{"type":"error","error":"Internal server error","request_id":"r1"}

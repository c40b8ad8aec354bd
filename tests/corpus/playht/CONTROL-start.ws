{"type":"start","request_id":"r1"}

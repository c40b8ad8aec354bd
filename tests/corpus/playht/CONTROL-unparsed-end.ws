{"type":"end","request_id":"r1"}

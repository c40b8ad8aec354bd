{"type":"transcript","is_final":true,"text":"error","request_id":"r1"}

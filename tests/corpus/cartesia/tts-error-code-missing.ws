{"type":"error","done":true,"context_id":"c1"}

{"type":"done","done":true,"status_code":200,"context_id":"c1"}

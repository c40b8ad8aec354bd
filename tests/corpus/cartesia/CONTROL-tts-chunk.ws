{"type":"chunk","data":"AAAA","done":false,"status_code":206,"context_id":"c1"}

{"type":"chunk","data":"AAAA","done":false,"status_code":206,"step_time":1.2,"context_id":"c1"}

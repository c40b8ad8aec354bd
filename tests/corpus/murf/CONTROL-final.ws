{"final":true,"context_id":"c1"}

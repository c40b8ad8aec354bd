{"type":"audio","turn_id":"t1","audio":"AAAA","final":true}

{"type":"ready","request_id":"r1","sample_rate":48000}

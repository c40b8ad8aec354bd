{"type":"ready","request_id":"req_9"}

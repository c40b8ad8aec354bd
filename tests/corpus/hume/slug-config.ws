{"type":"error","code":"E9999","slug":"config_something","message":"It was refused.","request_id":"r1"}

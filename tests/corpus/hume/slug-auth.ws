{"type":"error","code":"E9999","slug":"auth_something","message":"It was refused.","request_id":"r1"}

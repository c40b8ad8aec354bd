{"type":"error","code":"E9999","slug":"service_overloaded","message":"It was refused.","request_id":"r1"}

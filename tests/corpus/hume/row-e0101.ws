{"type":"error","code":"E0101","slug":"something_new","message":"It was refused.","request_id":"r1"}

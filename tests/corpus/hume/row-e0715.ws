{"type":"error","code":"E0715","slug":"something_new","message":"It was refused.","request_id":"r1"}

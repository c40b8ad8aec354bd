{"type":"error","code":"E0714","slug":"inactivity_timeout","message":"The connection was closed for inactivity.","request_id":"r1"}

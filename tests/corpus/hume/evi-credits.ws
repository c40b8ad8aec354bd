{"type":"error","code":"E0300","slug":"insufficient_credits","message":"You have run out of credits.","request_id":"r1"}

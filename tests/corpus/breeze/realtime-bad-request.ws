{"type":"error","code":"BAD_REQUEST","message":"The request is invalid."}

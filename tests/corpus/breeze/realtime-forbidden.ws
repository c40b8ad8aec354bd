{"type":"error","code":"FORBIDDEN","message":"Forbidden."}

{"type":"error","code":"GENERATION_NOT_READY","message":"Generation is not ready yet."}

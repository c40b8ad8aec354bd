{"type":"error","code":"RESOURCE_NOT_FOUND","message":"Resource not found."}

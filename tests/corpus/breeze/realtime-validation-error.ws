{"type":"error","code":"VALIDATION_ERROR","message":"Request validation failed."}

{"error":"Something broke","message":"internal error"}

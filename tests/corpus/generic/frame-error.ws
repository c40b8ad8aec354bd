{"error":"Not authorized: API key unknown"}

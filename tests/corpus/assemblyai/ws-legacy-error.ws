{"error":"Not authorized"}

{"type":"error","message":"Something went wrong"}

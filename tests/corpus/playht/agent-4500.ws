{"type":"error","code":4500,"message":"Generic internal server error"}

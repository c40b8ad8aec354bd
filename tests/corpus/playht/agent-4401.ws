{"type":"error","code":4401,"message":"Unauthorized"}

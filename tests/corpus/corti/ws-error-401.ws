{"type":"error","error":{"id":"e2","title":"Unauthorized","status":401,"details":"Not allowed.","doc":""}}

{"type":"error","done":true,"status_code":"401","error_code":null,"title":"Unauthorized","message":"Your token has expired"}

{"type":"error","success":false,"error_name":"Unauthorized","message":"Invalid API token","status_code":401}

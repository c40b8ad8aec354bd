{"type":"error","success":false,"error_name":"InternalServerError","message":"Something went wrong","status_code":500,"request_id":4}

{"event":"error","code":"internal_server_error","is_fatal":true,"message":"It failed.","status_code":500}

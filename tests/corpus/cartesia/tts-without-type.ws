{"context_id":"c1","status_code":429,"done":true,"error":"Too many concurrent requests: 3"}

{"type":"error","error_event":{"code":1008,"reason":"Missing required dynamic variables in first message: {'username'}"}}

{"type":"error","code":"SESSION_EXPIRED","message":"Session expired.","meta":{"reconnect":true}}

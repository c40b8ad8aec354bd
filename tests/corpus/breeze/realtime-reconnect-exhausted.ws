{"type":"error","code":"RECONNECT_EXHAUSTED","message":"Reconnect attempts exhausted.","meta":{"reconnect":true}}

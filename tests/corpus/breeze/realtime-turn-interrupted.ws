{"type":"error","code":"TURN_INTERRUPTED","message":"The turn was interrupted.","meta":{"reconnect":true}}

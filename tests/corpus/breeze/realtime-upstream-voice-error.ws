{"type":"error","code":"UPSTREAM_VOICE_ERROR","message":"A voice service failed.","meta":{"reconnect":true}}

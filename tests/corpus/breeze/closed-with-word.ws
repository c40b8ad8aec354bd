{"type":"session.closed","code":"IDLE_TIMEOUT","reason":"Idle.","reconnect":true}

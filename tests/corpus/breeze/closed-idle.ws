{"type":"session.closed","session_id":"s1","code":1008,"reason":"Idle for too long","reconnect":false}

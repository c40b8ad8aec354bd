{"type":"session.closed","session_id":"s1","code":1011,"reason":"internal error","reconnect":false}

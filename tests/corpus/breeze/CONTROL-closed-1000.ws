{"type":"session.closed","session_id":"s1","code":1000,"reason":"done","reconnect":false}

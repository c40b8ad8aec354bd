{"type":"session.closed","session_id":"s1","code":1012,"reason":"service restart","reconnect":true}

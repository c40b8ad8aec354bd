{"type":"session.ready","session_id":"s1"}

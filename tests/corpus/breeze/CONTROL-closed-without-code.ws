{"type":"session.closed","session_id":"s1"}

{"type":"session.created","session":{"id":"sess_1","error":null}}

{"type":"Begin","id":"s","expires_at":1795000000}

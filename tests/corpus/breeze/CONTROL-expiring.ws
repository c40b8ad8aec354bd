{"type":"session.expiring","session_id":"s1","expires_at":"2026-11-21T10:00:00Z","expires_in_seconds":30,"max_session_seconds":1800}

{"type":"error","session_id":"s","created_at":"2026-01-01T00:00:00Z","data":{"message":"Unsupported audio format"}}

{"type":"ping","ping_event":{"event_id":1,"ping_ms":50}}

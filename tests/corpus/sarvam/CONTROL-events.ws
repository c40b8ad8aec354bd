{"type":"events","data":{"event_type":"final"}}

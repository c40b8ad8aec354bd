{"type":"error","context_id":"c1","status_code":400,"done":true,"error":"transcript empty or contains only punctuation: nothing"}

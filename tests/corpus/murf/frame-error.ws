{"error":"Invalid voice_id","context_id":"c1"}

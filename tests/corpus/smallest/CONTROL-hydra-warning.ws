{"type":"warning","event_id":"ev_2","warning":{"message":"audio is quiet"}}

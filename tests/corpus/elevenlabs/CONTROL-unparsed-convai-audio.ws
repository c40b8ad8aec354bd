{"type":"audio","audio_event":{"audio_base_64":"AAAA","event_id":1}}

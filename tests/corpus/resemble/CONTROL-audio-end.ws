{"type":"audio_end","request_id":4}

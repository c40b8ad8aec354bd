{"type":"audio","request_id":4,"audio_content":"AA=="}

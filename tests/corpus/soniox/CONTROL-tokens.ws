{"tokens":[{"text":"error_code","is_final":true}],"final_audio_proc_ms":1,"total_audio_proc_ms":2}

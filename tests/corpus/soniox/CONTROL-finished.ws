{"tokens":[],"final_audio_proc_ms":1,"total_audio_proc_ms":1,"finished":true}

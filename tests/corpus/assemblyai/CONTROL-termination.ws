{"type":"Termination","audio_duration_seconds":5,"session_duration_seconds":6}

{"session_id":"s1","event":"task_failed"}

{"session_id":"s1","event":"task_continued","data":{"audio":"00"},"is_final":false,"base_resp":{"status_code":0,"status_msg":"success"}}

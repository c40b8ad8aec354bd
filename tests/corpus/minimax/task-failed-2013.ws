{"session_id":"s1","event":"task_failed","trace_id":"t1","base_resp":{"status_code":2013,"status_msg":"invalid params"}}

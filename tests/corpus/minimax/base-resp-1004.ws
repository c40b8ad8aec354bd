{"session_id":"s1","event":"connected_fail","base_resp":{"status_code":1004,"status_msg":"not authorized"}}

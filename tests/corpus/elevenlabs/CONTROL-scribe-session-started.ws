{"message_type":"session_started","session_id":"s1","config":{}}

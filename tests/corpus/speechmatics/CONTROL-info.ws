{"message":"Info","type":"concurrent_session_usage","reason":"1 concurrent sessions active out of quota 2","usage":1,"quota":2}

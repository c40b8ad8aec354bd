{"message":"Warning","type":"idle_timeout","reason":"The session will end in 10 minutes"}

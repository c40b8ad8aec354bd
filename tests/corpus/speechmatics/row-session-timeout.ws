{"message":"Error","type":"session_timeout","reason":"It was refused"}

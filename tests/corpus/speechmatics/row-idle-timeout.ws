{"message":"Error","type":"idle_timeout","reason":"It was refused"}

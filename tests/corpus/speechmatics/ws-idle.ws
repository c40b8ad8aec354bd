{"message":"Error","type":"idle_timeout","reason":"Session idle"}

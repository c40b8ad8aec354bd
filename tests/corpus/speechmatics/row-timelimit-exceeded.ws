{"message":"Error","type":"timelimit_exceeded","reason":"It was refused"}

{"message":"Error","type":"unknown_error","reason":"It was refused"}

{"message":"Error","type":"internal_error","reason":"It was refused"}

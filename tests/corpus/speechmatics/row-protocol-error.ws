{"message":"Error","type":"protocol_error","reason":"It was refused"}

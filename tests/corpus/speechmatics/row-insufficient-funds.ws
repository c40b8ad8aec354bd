{"message":"Error","type":"insufficient_funds","reason":"It was refused"}

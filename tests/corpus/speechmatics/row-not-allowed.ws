{"message":"Error","type":"not_allowed","reason":"It was refused"}

{"message":"Error","type":"not_authorised","reason":"It was refused"}

{"message":"Error","type":"invalid_model","reason":"It was refused"}

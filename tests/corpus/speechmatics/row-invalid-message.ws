{"message":"Error","type":"invalid_message","reason":"It was refused"}

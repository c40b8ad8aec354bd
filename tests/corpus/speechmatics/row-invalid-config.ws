{"message":"Error","type":"invalid_config","reason":"It was refused"}

{"message":"Error","type":"invalid_language","reason":"It was refused"}

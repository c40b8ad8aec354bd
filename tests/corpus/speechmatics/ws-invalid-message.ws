{"message":"Error","type":"invalid_message","reason":"Not JSON"}

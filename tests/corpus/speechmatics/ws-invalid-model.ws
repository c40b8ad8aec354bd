{"message":"Error","type":"invalid_model","reason":"Unknown language"}

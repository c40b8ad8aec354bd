{"message":"Error","type":"invalid_model","reason":"Unable to use the model for the recognition"}

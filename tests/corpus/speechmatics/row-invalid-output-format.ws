{"message":"Error","type":"invalid_output_format","reason":"It was refused"}

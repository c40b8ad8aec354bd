{"message":"Error","type":"internal_error","reason":"Something broke"}

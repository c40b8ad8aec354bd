{"message":"Error","type":"not_authorised","reason":"The token is not valid"}

{"message":"Error","type":"not_allowed","reason":"Not allowed for this user"}

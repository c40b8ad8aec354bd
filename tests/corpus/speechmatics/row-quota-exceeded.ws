{"message":"Error","type":"quota_exceeded","reason":"It was refused"}

{"message":"Error","type":"timelimit_exceeded","reason":"Usage limit reached for this month"}

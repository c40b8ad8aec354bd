{"message":"Error","type":"job_error","reason":"It was refused"}

{"message":"Error","type":"job_error","reason":"No worker"}

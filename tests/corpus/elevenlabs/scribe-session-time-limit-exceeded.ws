{"message_type":"session_time_limit_exceeded","error":"Session time limit exceeded."}

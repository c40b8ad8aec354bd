{"type":"Error","error_code":3005,"error":"Session Cancelled: An error occurred"}

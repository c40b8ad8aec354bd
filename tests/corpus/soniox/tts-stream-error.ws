{"stream_id":"s1","error_code":503,"error_message":"It was refused."}

{"message":"Error","type":"buffer_error","reason":"It was refused"}

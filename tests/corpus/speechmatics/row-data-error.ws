{"message":"Error","type":"data_error","reason":"It was refused"}

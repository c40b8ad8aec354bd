{"type":"error","message":"Input should be a valid string"}

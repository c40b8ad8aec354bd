{"tokens":[],"error_code":400,"error_message":"It was refused."}

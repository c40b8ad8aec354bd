{"tokens":[],"error_code":401,"error_message":"It was refused."}

{"tokens":[],"error_code":429,"error_message":"It was refused."}

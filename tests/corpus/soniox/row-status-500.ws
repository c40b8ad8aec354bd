{"tokens":[],"error_code":500,"error_message":"It was refused."}

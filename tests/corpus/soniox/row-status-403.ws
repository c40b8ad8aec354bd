{"tokens":[],"error_code":403,"error_message":"It was refused."}

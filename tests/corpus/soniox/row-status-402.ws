{"tokens":[],"error_code":402,"error_message":"It was refused."}

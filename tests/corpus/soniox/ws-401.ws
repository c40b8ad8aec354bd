{"tokens":[],"error_code":401,"error_message":"Invalid API key."}

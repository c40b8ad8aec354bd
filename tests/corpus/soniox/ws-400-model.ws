{"tokens":[],"error_code":400,"error_message":"Model is invalid."}

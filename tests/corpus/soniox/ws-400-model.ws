{"tokens":[],"error_code":400,"error_message":"Invalid model specified."}

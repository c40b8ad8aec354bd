{"tokens":[],"error_code":404,"error_message":"It was refused."}

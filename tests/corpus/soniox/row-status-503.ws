{"tokens":[],"error_code":503,"error_message":"It was refused."}

{"tokens":[],"error_code":408,"error_message":"Request timeout."}

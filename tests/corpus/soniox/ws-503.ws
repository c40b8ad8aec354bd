{"tokens":[],"error_code":503,"error_message":"Cannot continue request (code 1). Please restart the request."}

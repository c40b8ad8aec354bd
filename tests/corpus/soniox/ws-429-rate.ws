{"tokens":[],"error_code":429,"error_message":"Rate limit for your organization has been exceeded."}

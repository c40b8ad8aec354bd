{"tokens":[],"error_code":429,"error_message":"Maximum number of concurrent requests for your organization has been exceeded."}

{"status_code":401,"errors":["Invalid API key."]}

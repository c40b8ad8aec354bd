{"tokens":[],"error_code":500,"error_message":"The server had an error processing your request. Sorry about that!"}

{"tokens":[],"error_code":400,"error_message":"Language xx is not supported."}

{"tokens":[],"error_code":429,"error_message":"Usage limit of the organization was reached."}

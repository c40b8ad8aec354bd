{"tokens":[],"error_code":402,"error_message":"Project monthly budget exhausted. Please increase your project monthly budget."}

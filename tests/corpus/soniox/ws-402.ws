{"tokens":[],"error_code":402,"error_message":"Organization balance exhausted. Please either add funds manually or enable autopay."}

{"err_code":"INVALID_AUTH","err_msg":"Invalid credentials.","request_id":"4d8a7f1e-6f0c-4f8e-9d3e-2b1f6f7a8c90"}

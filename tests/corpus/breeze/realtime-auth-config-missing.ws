{"type":"error","code":"AUTH_CONFIG_MISSING","message":"Authentication is not configured correctly."}

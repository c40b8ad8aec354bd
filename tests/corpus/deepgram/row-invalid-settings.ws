{"type":"Error","code":"INVALID_SETTINGS","description":"It was refused."}

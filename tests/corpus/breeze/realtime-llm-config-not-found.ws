{"type":"error","code":"LLM_CONFIG_NOT_FOUND","message":"LLM feature is not configured."}

{"type":"Error","description":"Failed to think. Please check your agent.think settings.","code":"FAILED_TO_THINK"}

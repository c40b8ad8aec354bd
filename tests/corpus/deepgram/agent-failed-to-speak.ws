{"type":"Error","description":"Failed to speak. Please check your agent.speak settings.","code":"FAILED_TO_SPEAK"}

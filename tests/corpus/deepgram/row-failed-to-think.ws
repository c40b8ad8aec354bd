{"type":"Error","code":"FAILED_TO_THINK","description":"It was refused."}

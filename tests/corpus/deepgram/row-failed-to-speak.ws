{"type":"Error","code":"FAILED_TO_SPEAK","description":"It was refused."}

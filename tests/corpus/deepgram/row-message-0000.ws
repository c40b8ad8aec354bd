{"type":"Error","code":"MESSAGE-0000","description":"It was refused."}

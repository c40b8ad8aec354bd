{"type":"Error","code":"BIG-0000","description":"It was refused."}

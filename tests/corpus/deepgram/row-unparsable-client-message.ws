{"type":"Error","code":"UNPARSABLE_CLIENT_MESSAGE","description":"It was refused."}

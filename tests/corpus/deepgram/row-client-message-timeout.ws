{"type":"Error","code":"CLIENT_MESSAGE_TIMEOUT","description":"It was refused."}

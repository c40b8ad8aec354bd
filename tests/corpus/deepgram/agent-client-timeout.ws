{"type":"Error","description":"We waited too long for a websocket message from the client.","code":"CLIENT_MESSAGE_TIMEOUT"}

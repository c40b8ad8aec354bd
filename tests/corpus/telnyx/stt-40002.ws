{"errors":[{"code":"40002","title":"Format not supported by engine","detail":"Check the query of the socket.","meta":{"url":"https://developers.telnyx.com/docs/overview/errors/40002"}}]}

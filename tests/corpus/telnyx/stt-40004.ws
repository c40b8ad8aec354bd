{"errors":[{"code":"40004","title":"Invalid sample_rate","detail":"Check the query of the socket.","meta":{"url":"https://developers.telnyx.com/docs/overview/errors/40004"}}]}

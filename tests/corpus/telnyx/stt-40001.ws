{"errors":[{"code":"40001","title":"Unsupported input format","detail":"Check the query of the socket.","meta":{"url":"https://developers.telnyx.com/docs/overview/errors/40001"}}]}

{"errors":[{"code":"40003","title":"Missing sample_rate","detail":"Check the query of the socket.","meta":{"url":"https://developers.telnyx.com/docs/overview/errors/40003"}}]}

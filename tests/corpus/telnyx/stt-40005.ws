{"errors":[{"code":"40005","title":"Sample rate not supported for format","detail":"Check the query of the socket.","meta":{"url":"https://developers.telnyx.com/docs/overview/errors/40005"}}]}

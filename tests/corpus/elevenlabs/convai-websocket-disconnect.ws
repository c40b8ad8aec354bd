{"type":"error","error_event":{"code":1011,"error_type":"websocket_disconnect","message":"Websocket disconnect."}}

{"type":"error","error_event":{"code":1011,"error_type":"unknown_websocket_crash","message":"Unknown websocket crash."}}

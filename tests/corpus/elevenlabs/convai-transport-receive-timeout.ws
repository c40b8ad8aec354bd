{"type":"error","error_event":{"code":1011,"error_type":"transport_receive_timeout","message":"Transport receive timeout."}}

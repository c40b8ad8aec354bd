{"type":"error","error_event":{"code":1011,"error_type":"asyncio_timeout","message":"Asyncio timeout."}}

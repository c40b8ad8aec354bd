{"type":"error","error_event":{"code":1011,"error_type":"mcp_https_error","message":"Mcp https error."}}

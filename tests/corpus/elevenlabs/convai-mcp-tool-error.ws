{"type":"error","error_event":{"code":1011,"error_type":"mcp_tool_error","message":"Mcp tool error."}}

{"type":"error","code":"INTERNAL_ERROR","message":"Internal server error."}

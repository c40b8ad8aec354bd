{"type":"error","code":"UPSTREAM_TIMEOUT","message":"Upstream request timed out."}

{"type":"error","code":"UPSTREAM_GENERATION_ERROR","message":"Generation service request failed."}

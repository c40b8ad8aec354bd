{"type":"error","code":"UPSTREAM_GENERATION_SERVICE_ERROR","message":"Generation service request failed."}

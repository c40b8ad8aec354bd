{"type":"error","code":"UPSTREAM_ANALYTICS_ERROR","message":"Analytics service request failed."}

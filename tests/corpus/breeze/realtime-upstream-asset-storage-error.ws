{"type":"error","code":"UPSTREAM_ASSET_STORAGE_ERROR","message":"Audio asset storage failed."}

{"type":"error","code":"GENERATION_INTERRUPTED","message":"Generation was interrupted by a service restart. Please try again."}

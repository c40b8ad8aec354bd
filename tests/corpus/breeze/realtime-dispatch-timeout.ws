{"type":"error","code":"DISPATCH_TIMEOUT","message":"Generation dispatch timed out before execution. Please try again."}

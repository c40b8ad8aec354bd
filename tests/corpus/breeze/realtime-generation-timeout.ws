{"type":"error","code":"GENERATION_TIMEOUT","message":"Generation timed out. Please try again."}

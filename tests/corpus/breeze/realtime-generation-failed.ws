{"type":"error","code":"GENERATION_FAILED","message":"Generation failed."}

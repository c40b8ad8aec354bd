{"type":"error","code":"GENERATION_CAPACITY_EXCEEDED","message":"Generation capacity is currently exhausted. Please try again shortly.","meta":{"retry_after_ms":1500,"retry_after_seconds":2}}

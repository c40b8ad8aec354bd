{"type":"error","code":"GENERATION_CONCURRENCY_EXCEEDED","message":"Your plan’s concurrent generation limit was reached. Please retry shortly.","meta":{"retry_after_ms":1500,"retry_after_seconds":2}}

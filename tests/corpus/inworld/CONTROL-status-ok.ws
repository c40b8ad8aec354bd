{"result":{"contextId":"ctx-1","status":{"code":0,"message":"","details":[]},"audioChunk":{"audioContent":"AAAA"}}}

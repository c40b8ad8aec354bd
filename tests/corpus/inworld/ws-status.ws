{"result":{"contextId":"ctx-1","status":{"code":8,"message":"too many concurrent requests","details":[]}}}

{"result":{"contextId":"ctx-9","status":{"code":5,"message":"context not found","details":[]}}}

{"message":"Error","type":"quota_exceeded","reason":"Concurrent Quota Exceeded","code":4005}

{"detail":{"status":"quota_exceeded","message":"This request exceeds your quota."}}

{"type":"error","data":{"code":"capacity_exceeded","message":"No slot is free","details":{"retry_after":30}}}

{"type":"error","data":{"code":"invalid_settings","message":"Settings are not valid","details":{"fields":[{"field":"pitch","message":"out of range"}]}}}

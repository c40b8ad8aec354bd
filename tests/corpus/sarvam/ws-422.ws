{"type":"error","data":{"message":"Validation error","code":422}}

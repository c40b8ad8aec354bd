{"type":"error","data":{"message":"Unsupported language","code":422}}

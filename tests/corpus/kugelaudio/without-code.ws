{"error":"Invalid JSON","code":400}

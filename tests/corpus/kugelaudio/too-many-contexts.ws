{"error":"At most 5 contexts","error_code":"TOO_MANY_CONTEXTS","code":429,"context_id":"c6"}

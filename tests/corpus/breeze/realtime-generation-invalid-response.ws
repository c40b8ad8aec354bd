{"type":"error","code":"GENERATION_INVALID_RESPONSE","message":"Generation service returned an invalid response."}

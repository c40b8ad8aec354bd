{"error":"Invalid API key"}

{"error":"Error in audio response"}

{"error":"generation failed on our side","request_id":"r1"}

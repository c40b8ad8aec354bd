{"message":"Maximum simultaneous contexts per WebSocket connection exceeded (5). Please close existing contexts before creating new ones.","error":"max_active_conversations","code":1008}

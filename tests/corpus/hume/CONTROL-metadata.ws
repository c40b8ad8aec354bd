{"type":"chat_metadata","chat_id":"c","chat_group_id":"g","request_id":"r"}

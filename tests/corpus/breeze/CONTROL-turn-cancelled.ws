{"type":"turn.cancelled","turn_id":"t1"}

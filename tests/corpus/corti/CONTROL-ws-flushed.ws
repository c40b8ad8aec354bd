{"type":"flushed"}

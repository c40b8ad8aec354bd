{"type":"error"}

{"type":"ended"}

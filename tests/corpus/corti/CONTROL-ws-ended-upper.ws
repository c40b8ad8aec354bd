{"type":"ENDED"}

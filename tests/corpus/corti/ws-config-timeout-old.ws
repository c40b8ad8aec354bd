{"type":"CONFIG-TIMEOUT"}

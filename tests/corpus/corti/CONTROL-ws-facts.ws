{"type":"facts"}

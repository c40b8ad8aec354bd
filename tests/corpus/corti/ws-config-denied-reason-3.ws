{"type":"CONFIG_DENIED","reason":"unknown mode"}

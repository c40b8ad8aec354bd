{"type":"CONFIG_INVALID","reason":"no"}

{"type":"CONFIG_INVALID_LANGUAGE","reason":"no"}

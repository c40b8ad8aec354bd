{"type":"CONFIG_MISSING","reason":"No valid configuration provided for interaction"}

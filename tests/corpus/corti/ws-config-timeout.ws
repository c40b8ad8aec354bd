{"type":"CONFIG_TIMEOUT","reason":"Manual mode: no configuration provided within 10s"}

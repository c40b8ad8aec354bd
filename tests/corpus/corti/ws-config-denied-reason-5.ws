{"type":"CONFIG_DENIED","reason":"invalid audio format: MIME type not allowed..."}

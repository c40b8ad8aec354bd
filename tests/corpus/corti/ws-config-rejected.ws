{"type":"CONFIG_REJECTED","reason":"MIME type not allowed"}

{"type":"CONFIG_DENIED","reason":"invalid participants"}

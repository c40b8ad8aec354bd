{"type":"CONFIG_DENIED","reason":"invalid output locale: language should not be empty"}

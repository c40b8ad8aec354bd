{"type":"CONFIG_DENIED","reason":"invalid output locale: invalid language code: must be a valid BCP 47 language tag"}

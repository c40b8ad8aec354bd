{"error":{"code":3,"message":"invalid transcribe config: unsupported audio encoding"}}

{"tokens":[],"error_code":400,"error_message":"Audio data decode error. Verify that the audio format is specified correctly."}

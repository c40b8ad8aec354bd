{"message_type":"partial_transcript","text":"hello"}

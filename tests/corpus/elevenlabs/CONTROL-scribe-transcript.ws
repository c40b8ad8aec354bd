{"message_type":"committed_transcript","text":"an error occurred"}

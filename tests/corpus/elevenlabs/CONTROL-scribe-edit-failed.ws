{"message_type":"committed_transcript","text":"hello","edited_transcript":{"error_type":"edit_failed","message":"The edit failed."}}

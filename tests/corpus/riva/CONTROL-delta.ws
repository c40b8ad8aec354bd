{"type":"conversation.item.input_audio_transcription.delta","item_id":"i1","delta":"the failed error"}

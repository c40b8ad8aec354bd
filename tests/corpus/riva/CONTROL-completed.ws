{"type":"conversation.item.input_audio_transcription.completed","item_id":"i1","transcript":"Hello"}

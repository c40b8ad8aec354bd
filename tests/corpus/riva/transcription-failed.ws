{"type":"conversation.item.input_audio_transcription.failed","item_id":"i1","error":{"message":"The audio could not be transcribed."}}

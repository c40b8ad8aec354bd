{"type":"conversation.item.input_audio_transcription.failed","event_id":"event_2","item_id":"item_1","content_index":0,"error":{"message":"It could not be transcribed."}}

{"type":"error","error_event":{"code":1011,"error_type":"asr_transcription_error","message":"Asr transcription error."}}

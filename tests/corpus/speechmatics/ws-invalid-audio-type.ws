{"message":"Error","type":"invalid_audio_type","reason":"audio_format is not supported"}

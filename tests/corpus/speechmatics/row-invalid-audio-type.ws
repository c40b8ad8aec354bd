{"message":"Error","type":"invalid_audio_type","reason":"It was refused"}

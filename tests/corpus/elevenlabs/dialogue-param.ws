{"message":"Unknown voice settings.","error":"invalid_voice_settings","code":1008,"param":"voice_settings"}

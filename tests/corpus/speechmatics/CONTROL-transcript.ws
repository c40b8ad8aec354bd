{"message":"AddTranscript","metadata":{"transcript":"Error ","start_time":0.0,"end_time":1.0},"results":[]}

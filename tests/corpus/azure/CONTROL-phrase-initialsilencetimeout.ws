X-RequestId: 0A1B
Content-Type: application/json; charset=utf-8
Path: speech.phrase

{"Id": "x", "RecognitionStatus": "InitialSilenceTimeout", "Offset": 0, "Duration": 0}
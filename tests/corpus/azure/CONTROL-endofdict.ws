X-RequestId:1A2B
Content-Type:application/json; charset=utf-8
Path:speech.phrase

{"Id":"a","RecognitionStatus":"EndOfDictation","Offset":0,"Duration":0}
X-RequestId:1A
Content-Type:application/json; charset=utf-8
Path:speech.phrase

{"RecognitionStatus":"TooManyRequests"}
{"message":"Have not received a new text input within the timeout of 20 seconds. Streaming input terminated.","error":"input_timeout_exceeded","code":1008}

{"message":"voices can only be set in the first message.","code":1008}

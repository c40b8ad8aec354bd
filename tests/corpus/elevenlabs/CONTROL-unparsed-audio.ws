{"audio":"AAAA","isFinal":null,"normalizedAlignment":null,"alignment":{"chars":["a"]},"contextId":"c1"}

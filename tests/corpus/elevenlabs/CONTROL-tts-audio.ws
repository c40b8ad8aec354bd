{"audio":"AAAA","isFinal":null,"error":null,"normalizedAlignment":null}

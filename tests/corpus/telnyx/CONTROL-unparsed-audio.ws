{"audio":"AA==","text":null,"isFinal":false}

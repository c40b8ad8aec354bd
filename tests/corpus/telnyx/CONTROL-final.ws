{"audio":null,"text":"","isFinal":true}

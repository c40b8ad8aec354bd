{"isFinal":true}

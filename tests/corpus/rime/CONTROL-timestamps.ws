{"type":"timestamps","word_timestamps":{"words":["error"],"start":[0],"end":[1]}}

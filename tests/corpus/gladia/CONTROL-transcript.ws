{"type":"transcript","session_id":"s","data":{"id":"0","is_final":true,"utterance":{"text":"error"}},"error":null}

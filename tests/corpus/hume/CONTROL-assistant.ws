{"type":"assistant_message","id":"m","message":{"role":"assistant","content":"error"},"models":{}}

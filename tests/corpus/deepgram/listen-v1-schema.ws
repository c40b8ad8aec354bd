{"type":"Error","variant":"SchemaError","description":"The message could not be understood.","message":"{\"type\":\"Nonsense\"}"}

{"type":"transcript"}

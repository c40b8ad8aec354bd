{"type":"transcript.partial","text":"type error","is_final":false}

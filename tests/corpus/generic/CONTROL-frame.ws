{"type":"Results","is_final":true,"error":null}

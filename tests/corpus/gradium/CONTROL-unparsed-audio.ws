{"type":"audio","audio":"AA=="}

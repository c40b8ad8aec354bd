{"type":"audio.delta","delta":"AA=="}

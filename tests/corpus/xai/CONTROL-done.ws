{"type":"audio.done","trace_id":"t1"}

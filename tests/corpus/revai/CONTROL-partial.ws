{"type":"partial","ts":0,"end_ts":1,"elements":[{"type":"text","value":"error"}]}

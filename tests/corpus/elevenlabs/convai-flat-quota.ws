{"type":"error","message":"received 1002 (protocol error) This request exceeds your quota limit."}

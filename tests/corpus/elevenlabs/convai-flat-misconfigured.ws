{"type":"error","message":"received 1002 (protocol error) The AI agent you are trying to reach appears to be misconfigured"}

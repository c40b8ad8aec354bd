{"type":"agent_response","agent_response_event":{"agent_response":"error"}}

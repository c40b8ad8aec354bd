{"audio":"AA==","context_id":"c1"}

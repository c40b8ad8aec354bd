{"type":"response.done","response":{"id":"resp_1","status":"completed","status_details":null,"output":[]}}

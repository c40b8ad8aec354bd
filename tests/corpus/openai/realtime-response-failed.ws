{"type":"response.done","event_id":"event_3","response":{"id":"resp_1","status":"failed","status_details":{"type":"failed","error":null},"output":[]}}

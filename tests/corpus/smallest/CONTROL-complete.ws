{"request_id":"rq_3","status":"complete","done":true}

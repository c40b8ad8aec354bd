{"request_id":"rq_3","status":"chunk","data":{"audio":"AA=="}}

{"status_code":200,"data":{"audio":"AA==","text":"error","stop":false}}

{"type":"error","error":{"id":"e1","title":"Internal error","status":500,"details":"Unexpected failure.","doc":"https://docs.corti.ai/errors"}}

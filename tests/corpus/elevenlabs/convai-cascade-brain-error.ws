{"type":"error","error_event":{"code":1011,"error_type":"cascade_brain_error","message":"Cascade brain error."}}

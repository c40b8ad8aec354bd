{"type":"Warning","warning_code":1,"warning":"The model is deprecated."}

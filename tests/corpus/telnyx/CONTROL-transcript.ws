{"transcript":"the errors were mine","is_final":true,"confidence":0.9}

{"type":"chunk","data":"AAAA","contextId":null}

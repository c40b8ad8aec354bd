{"status_code":503,"data":null}

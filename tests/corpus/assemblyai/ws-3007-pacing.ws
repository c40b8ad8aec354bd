{"type":"Error","error_code":3007,"error":"Input Duration Violation: 20 ms. Expected between 50 and 1000 ms"}

{"type":"error","code":"UPSTREAM_BILLING_ERROR","message":"Billing service request failed."}

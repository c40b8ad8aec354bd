{"type":"rate_limits.updated","rate_limits":[{"name":"requests","limit":1000,"remaining":0,"reset_seconds":60}]}

{"type":"error","code":"E0715","slug":"max_duration_timeout","message":"The maximum duration was reached."}

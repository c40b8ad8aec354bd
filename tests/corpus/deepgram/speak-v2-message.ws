{"type":"Error","code":"MESSAGE-0000","description":"The message could not be read."}

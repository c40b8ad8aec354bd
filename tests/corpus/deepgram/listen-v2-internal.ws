{"type":"Error","sequence_id":4,"code":"INTERNAL_SERVER_ERROR","description":"An internal server error occurred while processing the request."}

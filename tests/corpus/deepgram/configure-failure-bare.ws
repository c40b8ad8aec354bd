{"type":"ConfigureFailure","request_id":"4d8a7f1e-6f0c-4f8e-9d3e-2b1f6f7a8c90","sequence_id":3}

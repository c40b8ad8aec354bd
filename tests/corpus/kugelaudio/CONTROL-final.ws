{"final":true,"chunks":4,"dur_ms":1200.0}

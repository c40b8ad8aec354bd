{"type":"error","code":"CONFLICT","message":"The request conflicts with current state."}

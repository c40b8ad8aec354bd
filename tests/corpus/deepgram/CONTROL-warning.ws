{"type":"Warning","code":"THINK_REQUEST_FAILED","description":"The provider failed; a fallback is tried."}

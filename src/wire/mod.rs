//! Framing: SSE, NDJSON, WebSocket close codes. Pure.

//! The WebSocket relay over real sockets: scripted providers, callers that speak bytes.
//!
//! * `errors`: the four places where an error hides, on canonical and on compatible routes

mod errors;
mod support;

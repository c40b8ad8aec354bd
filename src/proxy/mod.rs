//! One request, from routed to answered.

pub mod headers;
pub mod path;
pub mod redact;
pub mod route;
#[cfg(test)]
mod tests;

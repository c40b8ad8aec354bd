//! One request, from routed to answered.

pub mod path;
pub mod route;
#[cfg(test)]
mod tests;

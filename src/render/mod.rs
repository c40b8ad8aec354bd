//! A canonical error in the form the client's protocol expects.

pub mod http;

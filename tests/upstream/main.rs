//! The upstream client against providers that are scripted byte by byte.

mod bodies;
mod http1;
mod http2;
mod network;
mod pool;
mod support;
mod warm;

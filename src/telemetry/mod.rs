//! Metrics, access log, logging: what an operator can see.
//!
//! [`metrics`] counts and [`exposition`] writes the counts down; [`trace`] says where a request is in a trace; [`access`] has one
//! line for each request and [`logging`] the rest. [`journal`] and [`history`] keep what the status page shows. Both kinds of line
//! go through a [`sink`], which never makes a worker wait for whoever reads them.

pub mod access;
pub mod exposition;
mod fields;
pub mod fleet;
pub mod histogram;
pub mod history;
pub mod journal;
pub mod logging;
pub mod metrics;
pub mod otlp;
pub mod process;
pub mod retries;
pub mod semantic;
pub mod sink;
pub mod trace;
pub mod upstreams;

pub(crate) use fields::timestamp;

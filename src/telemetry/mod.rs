//! Metrics, access log, logging: what an operator can see.
//!
//! [`metrics`] counts and [`exposition`] writes the counts as text; [`trace`] has the trace context of a request; [`access`]
//! writes one line for each request and [`logging`] everything else. [`journal`] and [`history`] keep what the status page shows.
//! Both kinds of log lines go through a [`sink`], so that a slow reader never blocks a worker.

pub mod access;
pub mod connections;
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
pub mod redials;
pub mod retries;
pub mod semantic;
pub mod sink;
pub mod trace;
pub mod upstreams;
mod usage;

pub(crate) use fields::timestamp;

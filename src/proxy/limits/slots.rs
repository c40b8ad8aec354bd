//! One of so many slots, waited for in the queue of the route.

use super::{Denied, Refusal, RouteLimits};
use crate::canon::Fault;
use crate::limit::gate::{Entry, Gate, Lanes, Permit, Priority};
use crate::proxy::RouteRuntime;
use crate::proxy::headers::Fields;
use crate::telemetry::metrics::RouteMetrics;
use http::{HeaderMap, HeaderName};
use std::sync::Arc;
use tokio::time::Instant;

/// Who goes first in the queue: `high`, `normal` or `low`. It is a word between the caller and this gateway alone.
const PRIORITY: HeaderName = HeaderName::from_static("x-speechgate-priority");

/// The priority that a caller asks for; whatever else it says is `normal`.
pub(crate) fn priority(headers: &HeaderMap, fields: Fields) -> Priority {
    if !fields.may_have(Fields::PRIORITY) {
        return Priority::Normal;
    }
    match headers.get(PRIORITY).map(|value| value.as_bytes().trim_ascii()) {
        Some(value) if value.eq_ignore_ascii_case(b"high") => Priority::High,
        Some(value) if value.eq_ignore_ascii_case(b"low") => Priority::Low,
        Some(_) | None => Priority::Normal,
    }
}

/// Waits for a slot of one of these lanes, at most as long as the route says. It is free again when the permit is dropped;
/// dropping the future before gives up the place in the queue. None when the route does not count calls.
pub(crate) async fn slot(route: &RouteRuntime, priority: Priority, lanes: Lanes) -> Result<Option<Permit>, Denied> {
    let RouteLimits { gate: Some(gate), concurrency: Some(concurrency), .. } = &*route.limits else { return Ok(None) };
    let wait = Wait { metrics: &route.metrics, priority, since: Instant::now() };
    match gate.enter(priority, lanes, wait.since.into_std()) {
        Entry::Admitted(permit) => Ok(Some(permit)),
        Entry::Full => Err(refusal(gate, Fault::QueueFull)),
        Entry::Queued(waiting) => match tokio::time::timeout(concurrency.max_wait, waiting).await {
            Ok(permit) => Ok(Some(permit)),
            Err(_) => Err(refusal(gate, Fault::QueueTimeout)),
        },
    }
}

/// The refusal of a route whose queue is full.
pub(crate) fn full(route: &RouteRuntime) -> Denied {
    match route.limits.gate() {
        Some(gate) => refusal(gate, Fault::QueueFull),
        None => Fault::QueueFull.into(),
    }
}

fn refusal(gate: &Arc<Gate>, fault: Fault) -> Denied {
    let expected = gate.expected_wait(Instant::now().into_std());
    Refusal::of_slots(fault, gate.standing().limit, expected).into()
}

/// A wait, counted when it is over, however it ends.
struct Wait<'a> {
    metrics: &'a RouteMetrics,
    priority: Priority,
    since: Instant,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.metrics.queue_waited(self.priority, self.since.elapsed());
    }
}

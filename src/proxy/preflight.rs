//! Preflights that go on to their provider: past every rate and every slot, so that they have a bound of their own.

use super::context::RoutedContext;
use crate::canon::Fault;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long one may wait for a place.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How long it may wait for its answer then. A page cannot call before it has that, and nobody else needs it.
const LONGEST: Duration = Duration::from_secs(3);

/// Gives a preflight a place until its answer has ended, and an end.
///
/// # Errors
/// The fault to answer with, where no place came free in time.
pub(super) async fn admit(call: &mut RoutedContext) -> Result<(), Fault> {
    let places = Arc::clone(&call.route.preflights);
    match timeout(LONGEST_WAIT, places.acquire_owned()).await {
        Ok(Ok(place)) => call.preflight = Some(place),
        Ok(Err(_)) | Err(_) => return Err(Fault::PreflightsWait),
    }
    let end = Instant::now() + LONGEST;
    call.end = Some(call.end.map_or(end, |own| own.min(end)));
    Ok(())
}

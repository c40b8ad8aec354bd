//! Preflights that are forwarded to the provider. They count for no rate and no slot, so they have a bound of their own.

use super::context::RoutedContext;
use crate::canon::Fault;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long a preflight may wait for a permit.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How long it may then wait for its response. The page cannot call before it has that, and nobody else needs it.
const LONGEST: Duration = Duration::from_secs(3);

/// Gives a preflight a permit until its response has ended, and a deadline.
///
/// # Errors
/// The fault to respond with, when no permit was available in time.
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

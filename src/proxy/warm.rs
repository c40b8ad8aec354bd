//! What is kept warm, according to the current configuration.

use super::{RouteRuntime, State};
use crate::config::types::Upstream;
use crate::limit::breaker::Condition;
use crate::upstream::{Keepers, TlsShared, Want};
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

/// Keeps connections warm for the running configuration while it is polled. `replaced` signals a new configuration, which applies
/// from then on. Dropping the future closes the connections.
pub async fn keep_warm(state: &ArcSwap<State>, tls: Arc<TlsShared>, mut replaced: watch::Receiver<()>) {
    let mut keepers = Keepers::new(Arc::clone(&state.load().shared.connections), tls);
    loop {
        let running = state.load_full();
        running.shared.connections.keep_within(running.config.server.max_connections);
        keepers.keep(wants(&running));
        if replaced.changed().await.is_err() {
            return;
        }
    }
}

/// Each upstream once. Routes with the same upstream share its warm connections: as many as the largest setting asks for.
fn wants(state: &State) -> Vec<(Upstream, Want)> {
    let mut wants: Vec<(Upstream, Want)> = Vec::new();
    for route in state.routes().iter().filter(|route| route.config.warm.connections > 0) {
        for (index, upstream) in route.config.upstreams.iter().enumerate() {
            let want = want(route, index);
            match wants.iter_mut().find(|(known, _)| known == upstream) {
                Some((_, known)) => known.merge(want),
                None => wants.push((upstream.clone(), want)),
            }
        }
    }
    wants
}

fn want(route: &Arc<RouteRuntime>, index: usize) -> Want {
    let warm = &route.config.warm;
    let health = route.health.clone();
    Want {
        connections: warm.connections,
        max_idle: warm.max_idle,
        idle_limit: warm.idle_limit,
        connect: route.config.timeouts.connect,
        usable: Arc::new(move || {
            health.as_ref().is_none_or(|health| {
                let now = Instant::now().into_std();
                let open = health.circuit(index).is_some_and(|circuit| circuit.condition(now) == Condition::Open);
                health.checked().passes(index) && !open
            })
        }),
    }
}

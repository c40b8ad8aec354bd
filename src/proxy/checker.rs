//! Active health checks: probes each upstream of a route with `health`, independently of requests.
//!
//! A probe carries nothing from any client, and the route's credentials only if the route is configured so.

use super::headers::Destination;
use super::upstreams::{Checked, Streak};
use super::{RouteRuntime, State};
use crate::config::types::{HealthCheck, Timeouts, Upstream};
use crate::upstream::{Client, Limits, TlsShared, read_capped};
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request};
use http_body_util::Empty;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// The `User-Agent` of probes.
const USER_AGENT_VALUE: &str = concat!("speechgate/", env!("CARGO_PKG_VERSION"), " (health check)");

/// Probes the upstreams of the running configuration while it is polled. `replaced` signals a new configuration, whose upstreams
/// are probed from then on.
pub async fn check_health(state: &ArcSwap<State>, tls: Arc<TlsShared>, mut replaced: watch::Receiver<()>) {
    let client = Client::new(tls);
    loop {
        let running = state.load_full();
        let routes = running.routes().iter().filter(|route| route.config.health.is_some());
        let checks: Vec<_> = routes.flat_map(|route| checks(route, &client)).collect();
        let asks = async {
            join_all(checks).await;
            pending::<()>().await;
        };
        tokio::select! {
            () = asks => {}
            Ok(()) = replaced.changed() => {}
        }
    }
}

/// A check for each upstream of a route.
fn checks<'c>(
    route: &Arc<RouteRuntime>,
    client: &'c Client<Empty<Bytes>>,
) -> impl Iterator<Item = impl Future<Output = ()> + use<'c>> + use<'c> {
    let known = route.health.as_ref().map(|health| health.checked());
    let checks: Vec<_> = (0..route.config.upstreams.len())
        .filter_map(|index| Some((Check::new(route, index)?, Arc::clone(known.as_ref()?))))
        .map(|(check, known)| check.run(client, known))
        .collect();
    checks.into_iter()
}

/// The check of one upstream.
struct Check {
    route: Arc<RouteRuntime>,
    health: HealthCheck,
    index: usize,
    target: PathAndQuery,
    destination: Destination,
}

impl Check {
    fn new(route: &Arc<RouteRuntime>, index: usize) -> Option<Check> {
        let health = route.config.health.clone()?;
        let upstream = route.config.upstreams.get(index)?;
        let destination = Destination { upstream: index, ..Destination::default() };
        let plain = PathAndQuery::try_from(format!("{}{}", upstream.base_path, health.path)).ok()?;
        let target = match health.credentials {
            true => route.headers.target(plain, destination, false).ok()?,
            false => plain,
        };
        Some(Check { route: Arc::clone(route), health, index, target, destination })
    }

    /// Probes at every interval.
    async fn run(self, client: &Client<Empty<Bytes>>, known: Arc<Checked>) {
        let mut streak = Streak::default();
        let mut turns = interval(self.health.interval);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let _ = turns.tick().await;
            let good = timeout(self.health.timeout, self.ask(client)).await.unwrap_or(false);
            if let Some(passes) = streak.record(good, known.passes(self.index), &self.health) {
                known.set(self.index, passes);
                self.publish(passes);
            }
        }
    }

    /// Whether the upstream gives a healthy response.
    async fn ask(&self, client: &Client<Empty<Bytes>>) -> bool {
        let Some(upstream) = self.upstream() else { return false };
        let limit = self.health.timeout;
        let timeouts = Timeouts { connect: limit, response: limit, idle: limit, websocket_idle: limit, total: None };
        let Ok(exchange) = client.send(upstream, &timeouts, self.request(upstream)).await else { return false };
        let (parts, body) = exchange.response.into_parts();
        // Read to the end, so that the connection can be used for the next probe.
        let _ =
            read_capped(body, None, Limits { time: limit.max(Duration::from_millis(1)), ..Limits::default() }).await;
        let (first, last) = self.health.status;
        (first..=last).contains(&parts.status.as_u16())
    }

    fn request(&self, upstream: &Upstream) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.target.clone().into();
        let headers = request.headers_mut();
        if let Ok(host) = HeaderValue::from_str(upstream.authority.as_str()) {
            let _ = headers.insert(HOST, host);
        }
        let _ = headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_VALUE));
        let _ = headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        if self.health.credentials {
            self.route.headers.lend(headers, self.destination);
        }
        request
    }

    fn upstream(&self) -> Option<&Upstream> {
        self.route.config.upstreams.get(self.index)
    }

    fn publish(&self, passes: bool) {
        if let Some(metrics) = self.route.upstreams.get(self.index) {
            metrics.is_healthy(passes);
        }
        let (route, upstream) = (&self.route.config.name, self.upstream().map(Upstream::url).unwrap_or_default());
        match passes {
            true => tracing::info!(route, upstream, "an upstream passes its health checks again"),
            false => tracing::warn!(route, upstream, "an upstream fails its health checks; others are preferred"),
        }
    }
}

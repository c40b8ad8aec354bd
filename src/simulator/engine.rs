//! One simulated provider: what it is, what it has seen, and the answers that need nothing but its data.

use super::body::PacedBody;
use super::dialect::Dialect;
use super::fault::{Fault, Moment, NET_FAULTS, SILENT_FAULTS, WIRE_FAULTS, faults, find};
use super::plan::Plan;
use super::provider::Provider;
use super::template::{Vars, fill};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One simulated provider.
pub(crate) struct Engine {
    pub(crate) provider: Provider,
    pub(crate) dialect: &'static Dialect,
    pub(crate) address: SocketAddr,
    /// Every pause is multiplied by it.
    pub(crate) pace: f64,
    pub(crate) plan: Plan,
    // How often each path was asked for, for answers that change from poll to poll, and for `once-`.
    seen: Mutex<HashMap<String, usize>>,
}

impl Engine {
    pub(crate) fn new(provider: Provider, address: SocketAddr, pace: f64, plan: Plan) -> Engine {
        Engine { provider, dialect: Dialect::of(provider), address, pace, plan, seen: Mutex::default() }
    }

    /// How often `key` was seen before this time.
    pub(crate) fn visit(&self, key: &str) -> usize {
        // Enough for any test, bounded for a demo that runs for weeks.
        const KEYS: usize = 10_000;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= KEYS && !seen.contains_key(key) {
            seen.clear();
        }
        let count = seen.entry(key.to_owned()).or_default();
        *count += 1;
        *count - 1
    }

    /// Counts a failure that was asked for by `name`. Whether it was to happen once in this place, and has happened there before.
    pub(crate) fn count_fault(&self, name: &str, once: bool, place: &str) -> bool {
        let counted = if once { &name["once-".len()..] } else { name };
        self.plan.count(|stats| *stats.faults.entry(counted.to_owned()).or_default() += 1);
        once && self.visit(&format!("once {place} {name}")) > 0
    }

    /// The failure as the whole answer.
    pub(crate) async fn failure(&self, fault: &Fault, parts: &Parts) -> Response<PacedBody> {
        self.wait(Duration::from_millis(8)).await;
        let mut response = match (&fault.legacy, self.dialect.legacy(&parts.headers, &parts.uri)) {
            (Some(text), Some(content_type)) => self.plain(fault.status, Some(content_type), text),
            _ => self.plain(fault.status, fault.content_type.as_deref(), &fault.body),
        };
        set_headers(response.headers_mut(), &fault.headers, &Vars::new());
        response
    }

    /// The answer to a poll of a job that failed.
    pub(crate) fn failed_job(&self, fault: &Fault) -> Response<PacedBody> {
        match &fault.job {
            Some(job) => self.plain(200, Some("application/json"), job),
            None => self.plain(fault.status, fault.content_type.as_deref(), &fault.body),
        }
    }

    /// The failure of that name, which this provider's own dialect says.
    pub(crate) async fn named_failure(&self, name: &str, parts: &Parts) -> Response<PacedBody> {
        match find(self.provider, name) {
            Some(fault) => self.failure(fault, parts).await,
            None => self.no_such_fault(name),
        }
    }

    /// An answer with this provider's usual headers and nothing else.
    pub(crate) fn plain(&self, status: u16, content_type: Option<&str>, body: &str) -> Response<PacedBody> {
        let mut response = Response::new(PacedBody::whole(body.to_owned()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
        let mut vars = Vars::new();
        add_ids(&mut vars);
        set_headers(response.headers_mut(), &self.dialect.headers, &vars);
        if let Some(value) = content_type.and_then(|value| HeaderValue::from_str(value).ok()) {
            response.headers_mut().insert(CONTENT_TYPE, value);
        }
        response
    }

    /// Lists the failures there are, so that a typing mistake in a test does not pass for a provider's answer.
    pub(crate) fn no_such_fault(&self, name: &str) -> Response<PacedBody> {
        let known = faults(self.provider).iter().filter(|fault| fault.moment != Moment::Frame);
        let known: Vec<&str> = known.map(|fault| fault.name.as_str()).collect();
        let net: Vec<String> = NET_FAULTS.iter().map(|fault| format!("net-{}", fault.name)).collect();
        let silent: Vec<String> = SILENT_FAULTS.iter().map(|fault| format!("silent-{}", fault.name)).collect();
        let frames = faults(self.provider).iter().filter(|fault| fault.moment == Moment::Frame);
        let frames = frames.map(|fault| fault.name.clone());
        let wire = WIRE_FAULTS.iter().map(|fault| format!("net-{}", fault.name));
        let sockets: Vec<String> = frames.chain(wire).collect();
        let body = serde_json::json!({
            "simulator": format!("there is no fault-{name} here"),
            "faults": known,
            "network": net,
            "silence": silent,
            "only_on_sockets": sockets,
        });
        let mut response = self.plain(501, Some("application/json"), &body.to_string());
        response.headers_mut().insert("x-simulator-note", HeaderValue::from_static("no such fault"));
        response
    }

    /// The headers of a success: those of every answer, of every success, and this one's own.
    pub(crate) fn set_success_headers(
        &self,
        headers: &mut HeaderMap,
        own: &BTreeMap<String, String>,
        content_type: &str,
        vars: &Vars,
    ) {
        let mut vars = vars.clone();
        add_ids(&mut vars);
        for templates in [&self.dialect.headers, &self.dialect.success_headers, own] {
            set_headers(headers, templates, &vars);
        }
        if let Ok(value) = HeaderValue::from_str(content_type) {
            headers.insert(CONTENT_TYPE, value);
        }
    }

    /// Pauses, at this provider's pace.
    pub(crate) async fn wait(&self, time: Duration) {
        let time = time.mul_f64(self.pace);
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
    }
}

/// Ids that differ from answer to answer; they only ever stand in headers, so that bodies can be compared.
pub(crate) fn add_ids(vars: &mut Vars) {
    let random = format!("{:032x}", fastrand::u128(..));
    let uuid = [&random[..8], &random[8..12], &random[12..16], &random[16..20], &random[20..]].join("-");
    vars.insert("uuid".into(), uuid.into());
    vars.insert("trace".into(), random.into());
}

/// Sets headers whose values are templates.
pub(crate) fn set_headers(headers: &mut HeaderMap, templates: &BTreeMap<String, String>, vars: &Vars) {
    for (name, value) in templates {
        let value = fill(value, vars);
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            headers.insert(name, value);
        }
    }
}

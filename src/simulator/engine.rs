//! One request, from read to answered: the same for all providers, their differences are data.

use super::choose::{self, chosen};
use super::dialect::{Dialect, Found, Row, Say};
use super::fault::{self, Fault, Moment};
use super::net::{self, NET_FAULTS, NetFault, Sabotage};
use super::plan::Plan;
use super::socket::{self, Opening};
use super::stream::{FLUSH, Played, Step, Steps};
use super::success::{self, Asked};
use super::template::{Vars, fill};
use super::{Answer, Provider, faults};
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What goes back to the caller.
pub(crate) enum Reply {
    /// An HTTP answer.
    Answer(Box<Answer>),
    /// The connection is taken away from HTTP, does this, and ends; with a reset if so.
    Raw { steps: Steps, reset: bool },
    /// A WebSocket begins.
    Socket(Box<Response<Played>>, Box<Opening>),
}

/// One simulated provider.
pub(crate) struct Engine {
    pub(crate) provider: Provider,
    pub(crate) dialect: &'static Dialect,
    pub(crate) address: SocketAddr,
    pub(crate) pace: f64,
    pub(crate) plan: Plan,
    // How often each path was asked for, for answers that change from poll to poll, and for `once-`.
    seen: Mutex<HashMap<String, usize>>,
}

/// A failure that a caller asked for.
#[derive(Clone, Copy)]
enum Wish {
    Fault(&'static Fault, Moment),
    Net(&'static NetFault, Moment),
}

/// No failure has that name.
struct NoSuch;

impl Engine {
    pub(crate) fn new(provider: Provider, address: SocketAddr, pace: f64, plan: Plan) -> Engine {
        Engine { provider, dialect: Dialect::of(provider), address, pace, plan, seen: Mutex::default() }
    }

    /// Reads the request to its end and answers it.
    pub(crate) async fn reply(self: &Arc<Self>, request: Request<Incoming>) -> Reply {
        if let Some((socket, vars)) = self.socket(&request) {
            return self.upgrade(socket, vars, request).await;
        }
        let (parts, body) = request.into_parts();
        let Ok(body) = self.read(body).await else {
            return Reply::Raw { steps: Box::new(std::iter::empty()), reset: true };
        };
        if let Some(rest) = parts.uri.path().strip_prefix("/__sim/") {
            return answer(self.control(rest, &parts, &body));
        }
        let mut name = chosen(&parts, &body);
        // An id that leads to a failure names it, wherever it is used.
        let mut carry = name.as_ref().map(|name| format!("_fault-{name}")).unwrap_or_default();
        if name.as_ref().is_some_and(|name| self.only_leads_there(name, &parts)) {
            name = None;
        }
        let wish = match &name {
            Some(name) => match self.wish(name, &parts) {
                Ok(wish) => wish,
                Err(NoSuch) => return answer(self.no_such(name)),
            },
            None => None,
        };
        match wish {
            Some(Wish::Net(fault, Moment::Answer)) => match fault.sabotage() {
                Sabotage::Answer(answer) => Reply::Answer(answer),
                Sabotage::Raw { steps, reset } => Reply::Raw { steps, reset },
            },
            Some(Wish::Fault(fault, Moment::Answer | Moment::Rpc)) => answer(self.failure(fault, &parts).await),
            Some(Wish::Fault(fault, Moment::Job)) if parts.method == Method::GET => answer(self.failed_job(fault)),
            wish => {
                if name.is_some() && !matches!(wish, Some(Wish::Fault(_, Moment::Job))) {
                    carry.clear();
                }
                answer(self.succeed(&parts, &body, wish, carry).await)
            }
        }
    }

    /// The beginning of a body, all of it read.
    async fn read(&self, mut body: Incoming) -> Result<Bytes, hyper::Error> {
        let mut start = BytesMut::new();
        let mut total = 0;
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                total += data.len() as u64;
                let room = choose::LOOKED_AT.saturating_sub(start.len());
                start.extend_from_slice(&data[..data.len().min(room)]);
            }
        }
        self.plan.count(|stats| {
            stats.requests += 1;
            stats.received_bytes += total;
        });
        Ok(start.freeze())
    }

    /// Whether the failure belongs to a socket to which this request only leads.
    fn only_leads_there(&self, name: &str, parts: &Parts) -> bool {
        let leads = matches!(self.dialect.find(&parts.method, &parts.uri), Found::Row(row, _) if row.leads_to_socket);
        leads && socket::Wish::read(self.provider, strip(name, "once-").1).is_some_and(|wish| wish.needs_socket())
    }

    /// What `name` stands for: `[once-][mid-|job-](<code>|net-<name>)`.
    fn wish(&self, name: &str, parts: &Parts) -> Result<Option<Wish>, NoSuch> {
        let (once, rest) = strip(name, "once-");
        let (mid, rest_mid) = strip(rest, "mid-");
        let (job, rest_job) = strip(rest, "job-");
        let moment = |own: Moment| if mid { Moment::Stream } else { own };
        let wish = if let Some(fault) = fault::find(self.provider, rest) {
            Some(Wish::Fault(fault, fault.moment))
        } else if let (true, net) = strip(rest_mid, "net-") {
            net::find(net).map(|fault| Wish::Net(fault, moment(Moment::Answer)))
        } else if job {
            fault::find(self.provider, rest_job)
                .filter(|fault| fault.job.is_some())
                .map(|fault| Wish::Fault(fault, Moment::Job))
        } else {
            fault::find(self.provider, rest_mid).map(|fault| Wish::Fault(fault, moment(fault.moment)))
        };
        let Some(wish) = wish.filter(|wish| !matches!(wish, Wish::Fault(_, Moment::Frame))) else { return Err(NoSuch) };
        self.plan.count(|stats| *stats.faults.entry(rest.to_owned()).or_default() += 1);
        let used_up = once && self.visit(&format!("once {} {name}", parts.uri.path())) > 0;
        Ok((!used_up).then_some(wish))
    }

    /// How often `key` was seen before; it was seen once more now.
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

    /// The failure as the whole answer.
    pub(crate) async fn failure(&self, fault: &Fault, parts: &Parts) -> Answer {
        self.wait(Duration::from_millis(8)).await;
        let mut answer = match (&fault.legacy, self.dialect.legacy(&parts.headers, &parts.uri)) {
            (Some(text), Some(content_type)) => self.plain(fault.status, Some(content_type), text),
            _ => self.plain(fault.status, fault.content_type.as_deref(), &fault.body),
        };
        set(&mut answer.headers, &fault.headers, &Vars::new());
        answer
    }

    /// The answer to a poll of a job that failed.
    fn failed_job(&self, fault: &Fault) -> Answer {
        match &fault.job {
            Some(job) => self.plain(200, Some("application/json"), job),
            None => self.plain(fault.status, fault.content_type.as_deref(), &fault.body),
        }
    }

    /// A named failure of this provider; the names come from its own dialect.
    pub(crate) async fn named(&self, name: &str, parts: &Parts) -> Answer {
        match fault::find(self.provider, name) {
            Some(fault) => self.failure(fault, parts).await,
            None => self.no_such(name),
        }
    }

    /// All is well, perhaps until the middle of the answer.
    async fn succeed(&self, parts: &Parts, body: &Bytes, wish: Option<Wish>, carry: String) -> Answer {
        let (row, mut vars) = match self.dialect.find(&parts.method, &parts.uri) {
            Found::Row(row, vars) => (row, vars),
            Found::WrongMethod => return self.named(&self.dialect.unknown.method, parts).await,
            Found::Nothing => return self.named(&self.dialect.unknown.path, parts).await,
        };
        if !row.open && wish.is_none() && !self.dialect.authorised(&parts.headers, &parts.uri) {
            return self.named(&self.dialect.auth.missing, parts).await;
        }
        let slot = match row.metered.then(|| self.plan.take()).transpose() {
            Ok(slot) => slot,
            Err(full) => {
                let mut refusal = self.named(&self.dialect.plan.fault, parts).await;
                self.plan_headers(&mut refusal.headers, full.in_use);
                return refusal;
            }
        };
        vars.insert("carry".into(), carry.into());
        vars.insert("authority".into(), self.address.to_string().into());
        let visits = match row.body.len() {
            0 | 1 => 0,
            // Whoever compares two polls wants the same answer twice, however many others poll.
            stages if parts.uri.path().contains("settled") => stages - 1,
            _ => self.visit(parts.uri.path()),
        };
        let asked = Asked::read(parts, body, row, self.pace, visits);
        let mut made = success::make(row, &asked, vars.clone());
        self.wait(made.first).await;
        if let Some(wish) = wish.filter(|wish| !matches!(wish, Wish::Fault(_, Moment::Job))) {
            made.steps =
                interrupted(made.steps, row.say, wish, self.dialect.legacy(&parts.headers, &parts.uri).is_some());
            made.whole = None;
        }
        let played = match made.whole {
            Some(bytes) => Played::whole(bytes),
            None => Played::steps(made.steps),
        };
        let mut answer = Answer::new(StatusCode::from_u16(row.status).unwrap_or_default(), played.holding(slot));
        self.dress(&mut answer, row, made.content_type, &vars);
        if visits + 1 < row.body.len() {
            set(&mut answer.headers, &row.waiting_headers, &vars);
        }
        if made.instead {
            answer
                .headers
                .insert("x-simulator-note", HeaderValue::from_static("a compressed format was asked for; this is WAV"));
        }
        if row.metered {
            self.plan_headers(&mut answer.headers, self.plan.stats().in_use);
        }
        answer
    }

    /// The headers of a success.
    fn dress(&self, answer: &mut Answer, row: &'static Row, content_type: &str, vars: &Vars) {
        let mut vars = vars.clone();
        add_ids(&mut vars);
        for headers in [&self.dialect.headers, &self.dialect.success_headers, &row.headers] {
            set(&mut answer.headers, headers, &vars);
        }
        if let Ok(value) = HeaderValue::from_str(content_type) {
            answer.headers.insert(CONTENT_TYPE, value);
        }
    }

    fn plan_headers(&self, headers: &mut HeaderMap, in_use: usize) {
        let row = &self.dialect.plan;
        // Without a limit of ours, a generous plan.
        let limit = self.plan.stats().plan.unwrap_or(30);
        for (name, value) in [(&row.limit_header, limit), (&row.current_header, in_use)] {
            if let Some(name) = name.as_ref().and_then(|name| name.parse::<HeaderName>().ok()) {
                headers.insert(name, HeaderValue::from(value));
            }
        }
    }

    /// An answer with this provider's usual headers and nothing else.
    pub(crate) fn plain(&self, status: u16, content_type: Option<&str>, body: &str) -> Answer {
        let mut answer = Answer::new(StatusCode::from_u16(status).unwrap_or_default(), Played::whole(body.to_owned()));
        let mut vars = Vars::new();
        add_ids(&mut vars);
        set(&mut answer.headers, &self.dialect.headers, &vars);
        if let Some(value) = content_type.and_then(|value| HeaderValue::from_str(value).ok()) {
            answer.headers.insert(CONTENT_TYPE, value);
        }
        answer
    }

    /// Nobody knows that failure: say which there are, so that a typing mistake in a test does not pass for a provider's answer.
    pub(crate) fn no_such(&self, name: &str) -> Answer {
        let known = faults(self.provider).iter().filter(|fault| fault.moment != Moment::Frame);
        let known: Vec<&str> = known.map(|fault| fault.name.as_str()).collect();
        let net: Vec<String> = NET_FAULTS.iter().map(|fault| format!("net-{}", fault.name)).collect();
        let frames = faults(self.provider).iter().filter(|fault| fault.moment == Moment::Frame);
        let frames = frames.map(|fault| fault.name.clone());
        let wire = socket::WIRE_FAULTS.iter().map(|fault| format!("net-{}", fault.name));
        let sockets: Vec<String> = frames.chain(wire).collect();
        let body = serde_json::json!({
            "simulator": format!("there is no fault-{name} here"),
            "faults": known,
            "network": net,
            "only_on_sockets": sockets,
        });
        let mut answer = self.plain(501, Some("application/json"), &body.to_string());
        answer.headers.insert("x-simulator-note", HeaderValue::from_static("no such fault"));
        answer
    }

    /// `GET /__sim/stats`, `GET /__sim/faults`, `PUT /__sim/plan` with a number or nothing as body.
    fn control(&self, what: &str, parts: &Parts, body: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(body);
        let json = match (&parts.method, what) {
            (&Method::GET, "stats") => serde_json::json!(self.plan.stats()),
            (&Method::GET, "faults") => faults(self.provider)
                .iter()
                .map(|fault| serde_json::json!({"name": fault.name, "code": fault.code, "status": fault.status}))
                .collect(),
            (&Method::PUT, "plan") if text.trim().is_empty() || text.trim().parse::<usize>().is_ok() => {
                self.plan.set(text.trim().parse().ok());
                serde_json::json!(self.plan.stats())
            }
            _ => return self.plain(404, Some("text/plain"), "GET stats, GET faults, PUT plan\n"),
        };
        self.plain(200, Some("application/json"), &json.to_string())
    }

    async fn wait(&self, time: Duration) {
        let time = time.mul_f64(self.pace);
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
    }
}

pub(crate) fn answer(answer: Answer) -> Reply {
    Reply::Answer(Box::new(answer))
}

/// Whether `text` starts so, whatever its case, and what follows.
pub(crate) fn strip<'a>(text: &'a str, prefix: &str) -> (bool, &'a str) {
    match text.get(..prefix.len()) {
        Some(start) if start.eq_ignore_ascii_case(prefix) => (true, &text[prefix.len()..]),
        _ => (false, text),
    }
}

/// A good beginning, then the failure in the form that this kind of answer has for it; without one, the connection breaks.
fn interrupted(mut steps: Steps, say: Say, wish: Wish, legacy: bool) -> Steps {
    // Two chunks and the pause between them.
    let good: Vec<Step> = steps.by_ref().take(3).collect();
    let cut = || vec![Step::Pause(FLUSH), Step::Cut];
    let line = |text: String| vec![Step::Send(Bytes::from(text))];
    let bad = match (wish, say) {
        (Wish::Net(fault, _), _) => fault.in_stream(),
        (Wish::Fault(fault, _), Say::Events) => {
            let data = if legacy { fault.legacy_event.as_ref().or(fault.event.as_ref()) } else { fault.event.as_ref() };
            data.map_or_else(cut, |data| line(format!("event: error\ndata: {data}\n\n")))
        }
        (Wish::Fault(fault, _), Say::Lines) => fault.line.as_ref().map_or_else(cut, |text| line(format!("{text}\n"))),
        (Wish::Fault(..), Say::Json | Say::Spoken | Say::Audio) => cut(),
    };
    Box::new(good.into_iter().chain(bad))
}

/// Ids that differ from answer to answer; they only ever stand in headers, so that bodies can be compared.
pub(crate) fn add_ids(vars: &mut Vars) {
    let random = format!("{:032x}", fastrand::u128(..));
    let uuid = [&random[..8], &random[8..12], &random[12..16], &random[16..20], &random[20..]].join("-");
    vars.insert("uuid".into(), uuid.into());
    vars.insert("trace".into(), random.into());
}

/// Sets headers whose values are templates.
pub(crate) fn set(headers: &mut HeaderMap, rows: &std::collections::BTreeMap<String, String>, vars: &Vars) {
    for (name, value) in rows {
        let value = fill(value, vars);
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            headers.insert(name, value);
        }
    }
}

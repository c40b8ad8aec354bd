//! Tracks the generation behind an HTTP request, on routes that do so: observes the bytes that pass, and tells when it is silent.
//!
//! Each attempt of the request is a generation of its own, so that a silent one that was retried elsewhere is recorded.

use crate::canon::generations::{AudioPlace, GenerationRule};
use crate::canon::{Code, Evidence, GenerationKind, Observed};
use crate::detect::{self, Form};
use crate::generation::{Asked, Facts, Generation, MemberScan, Outcome, Record, Said, Silent, Watch};
use crate::proxy::request_body::{Kind, RequestBody, Tap};
use http::{HeaderMap, header, request};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep};

/// How often to check whether an upload has ended.
const LOOK: Duration = Duration::from_millis(100);

/// How long after a deadline to check again: bytes that the provider sent in time may still be on their way through the gateway.
const AGAIN: Duration = Duration::from_millis(20);

/// If a timer fires this late, the gateway itself was paused, which is not the provider's silence.
const PAUSE: Duration = Duration::from_millis(50);

/// The generation of one request.
#[derive(Debug)]
pub(crate) struct Followed {
    rule: Arc<GenerationRule>,
    facts: Facts,
    watch: Watch,
    tap: Arc<Tap>,
    /// The generation in progress.
    generation: Option<Generation>,
    /// How audio is recognised in the response body.
    audio: Audio,
    /// When the request of this generation was sent.
    began: Instant,
    /// Since when the client has been waiting for audio, without the time in which it read nothing; none when audio has just
    /// passed.
    waits: Option<Instant>,
    /// Since when data has been waiting for the client to read it; none while the client waits for more.
    handed: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// The deadline has passed, and the timer is set for the second check.
    again: bool,
}

/// Where the audio in a response is.
#[derive(Debug)]
enum Audio {
    Nowhere,
    Body,
    Member(MemberScan),
}

impl Followed {
    /// The generation that this request starts, by this rule.
    pub(crate) fn of(
        rule: Arc<GenerationRule>,
        (method, path): (&str, &str),
        parts: &request::Parts,
        upload: &mut RequestBody,
    ) -> Followed {
        let mut facts = Facts::of(&rule, Asked { method, path, query: parts.uri.query() });
        facts.read_headers(&rule, &parts.headers);
        let tap = Arc::new(Tap::new(&rule, Kind::of(&parts.headers)));
        upload.tap(&tap);
        let (watch, audio) = (Watch::default(), Audio::Nowhere);
        Followed {
            rule,
            facts,
            watch,
            tap,
            generation: None,
            audio,
            began: Instant::now(),
            waits: None,
            handed: None,
            timer: None,
            again: false,
        }
    }

    /// The request is sent.
    pub(crate) fn begins(&mut self, watch: Watch) {
        self.watch = watch;
        (self.audio, self.began) = (Audio::Nowhere, Instant::now());
        (self.waits, self.handed, self.timer, self.again) = (Some(self.began), None, None, false);
        self.generation = Some(Generation::new(&self.rule, &self.facts, watch, self.began.into_std()));
    }

    /// Tells when the first byte is late; none without such a limit.
    pub(crate) fn first_audio(&self) -> Option<Late> {
        let limit = self.watch.first_audio.filter(|_| self.rule.kind == GenerationKind::Tts)?;
        Some(Late { rule: Arc::clone(&self.rule), tap: Arc::clone(&self.tap), limit, began: Instant::now() })
    }

    /// The head of the response has arrived.
    pub(crate) fn answered(&mut self, headers: &HeaderMap, form: Form) {
        self.facts.read_headers(&self.rule, headers);
        let media = detect::is_media(headers) || is_bytes(headers);
        let member = self.rule.audio.iter().find_map(|place| match place {
            AudioPlace::Member(member) => Some(member.name.needle()),
            AudioPlace::Body | AudioPlace::Binary => None,
        });
        self.audio = match member {
            _ if media => Audio::Body,
            Some(name) => Audio::Member(MemberScan::new(name)),
            None => Audio::Nowhere,
        };
        self.has_asked();
        let Some(generation) = &mut self.generation else { return };
        let coded = headers.contains_key(header::CONTENT_ENCODING) && !matches!(form, Form::Stream(_));
        if coded || matches!(self.audio, Audio::Nowhere) {
            generation.unwatched();
            self.watch = Watch::default();
        }
        if coded {
            generation.unmeasured();
        }
        generation.answered(&self.rule, &self.facts, now());
        if self.rule.has_figures() {
            let seen = Observed::line(b"", SystemTime::UNIX_EPOCH).within(headers);
            generation.figures(&self.rule, &Evidence::new(&seen));
        }
    }

    /// The head of a gRPC response has arrived. Its messages are not parsed, so silence means that no message at all arrives
    /// after the client has sent everything.
    pub(crate) fn answered_call(&mut self) {
        self.audio = Audio::Nowhere;
        self.watch = Watch { result: self.watch.result, ..Watch::default() };
        self.has_asked();
        if let Some(generation) = &mut self.generation {
            generation.judged_by(self.watch);
            generation.heard(now());
        }
    }

    /// The response is handed over; the client reads its body at its own pace.
    pub(crate) fn handed_over(&mut self) {
        self.handed = Some(Instant::now());
    }

    /// Whether the head of a response has arrived.
    pub(crate) fn has_answered(&self) -> bool {
        self.generation.as_ref().is_some_and(Generation::has_begun)
    }

    /// Records the end of the upload, once.
    fn has_asked(&mut self) {
        let Followed { rule, facts, tap, generation, began, waits, .. } = self;
        let Some(ended) = tap.ended() else { return };
        let Some(generation) = generation.as_mut().filter(|generation| !generation.is_whole()) else { return };
        // Time spent in an earlier attempt does not count for this one.
        let ended = ended.max(*began);
        *waits = waits.map(|since| since.max(ended));
        let text = tap.read(rule, |body| facts.read_body(rule, body));
        generation.described(rule, facts);
        if rule.input.iter().any(|place| matches!(place, AudioPlace::Body)) {
            generation.input(tap.size(), &[]);
        }
        generation.said(Said { text, flush: false, last: true }, ended.into_std());
    }

    /// Observes decoded bytes of the response body. Only audio restarts the silence timer.
    pub(crate) fn passes(&mut self, data: &[u8]) {
        let at = Instant::now();
        self.taken(at);
        let now = at.into_std();
        let Some(generation) = &mut self.generation else { return };
        match &mut self.audio {
            Audio::Nowhere => generation.heard(now),
            Audio::Body => generation.audio(data.len() as u64, data, now, now),
            Audio::Member(scan) => scan.feed(data, generation, now, now),
        }
        let restarts = matches!(self.audio, Audio::Nowhere) || generation.last_audio() == Some(now);
        (self.waits, self.handed) = match restarts {
            true => (None, None),
            false => (self.waits.or(Some(at)), Some(at)),
        };
    }

    /// The client asks for more: the time in which it read does not count.
    fn taken(&mut self, now: Instant) {
        if let (Some(handed), Some(since)) = (self.handed.take(), &mut self.waits) {
            *since += now.saturating_duration_since(handed);
        }
    }

    /// Called when nothing has arrived and the client waits: ready when that counts as silence.
    pub(crate) fn poll_silent(&mut self, cx: &mut Context<'_>) -> Poll<Silent> {
        let now = Instant::now();
        self.taken(now);
        self.has_asked();
        let since = *self.waits.get_or_insert(now);
        let Some(generation) = &self.generation else { return Poll::Pending };
        if self.watch.result.is_some() && !generation.is_whole() {
            // The end of an upload wakes nobody, so it is checked with a timer.
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(now)));
            timer.as_mut().reset(now + LOOK);
            let _ = pin!(unconstrained(timer.as_mut())).poll(cx);
            return Poll::Pending;
        }
        let Some((due, silent)) = generation.due(since.into_std()) else { return Poll::Pending };
        let due = Instant::from_std(due);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if due > now || !self.again {
            self.again = false;
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
        }
        loop {
            // Bytes without audio may have used up the task's cooperative budget, so the timer is polled without it.
            ready!(pin!(unconstrained(timer.as_mut())).poll(cx));
            if self.again && timer.deadline().elapsed() < PAUSE {
                return Poll::Ready(silent);
            }
            self.again = true;
            timer.as_mut().reset(Instant::now() + AGAIN);
        }
    }

    /// Called with data that is about to be sent: ready when it has no audio, and the silence has lasted too long.
    pub(crate) fn poll_stale(&mut self, cx: &mut Context<'_>) -> Poll<Silent> {
        if self.waits.is_none() {
            return Poll::Pending;
        }
        let silent = self.poll_silent(cx);
        self.handed_over();
        silent
    }

    /// Whether the generation would count as empty if it ended regularly now.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.has_asked();
        self.generation.as_ref().is_some_and(Generation::is_empty)
    }

    /// The generation in progress ended, with this error or successfully.
    pub(crate) fn ends(&mut self, code: Option<Code>) -> Option<Record> {
        self.has_asked();
        let (outcome, silent) = outcome(code);
        Some(self.generation.take()?.end(outcome, silent, code, now()))
    }
}

/// Whether the response does not declare its media type.
fn is_bytes(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    kind.is_none_or(|kind| kind.starts_with(b"application/octet-stream"))
}

/// The outcome of a generation that ended with this error.
pub(crate) fn outcome(code: Option<Code>) -> (Outcome, Option<Silent>) {
    let Some(code) = code else { return (Outcome::Complete, None) };
    let silent = [Silent::Late, Silent::Stalled, Silent::Empty, Silent::NoResult];
    match silent.into_iter().find(|silent| silent.fault().code() == code) {
        Some(silent) => (Outcome::Silent, Some(silent)),
        None if code == Code::ClientCancelled => (Outcome::Cancelled, None),
        None => (Outcome::Failed, None),
    }
}

/// When the first byte of a response is late.
pub(crate) struct Late {
    rule: Arc<GenerationRule>,
    tap: Arc<Tap>,
    limit: Duration,
    began: Instant,
}

impl Late {
    /// Completes when it is late: this long after the whole request was sent.
    pub(crate) async fn reached(self) {
        let asked = loop {
            match self.tap.ended() {
                Some(ended) => break ended.max(self.began),
                None => tokio::time::sleep(LOOK.min(self.limit)).await,
            }
        };
        let mut deadline = asked + self.limit;
        tokio::time::sleep_until(deadline).await;
        loop {
            deadline = Instant::now() + AGAIN;
            tokio::time::sleep_until(deadline).await;
            if deadline.elapsed() < PAUSE {
                break;
            }
        }
        if self.tap.read(&self.rule, |_| ()).is_some_and(|text| !text.spoken) {
            // The request has not been sent.
            std::future::pending::<()>().await;
        }
    }
}

/// The current time, as generations use it.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

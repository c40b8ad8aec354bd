//! Slots for the units of a socket: a message that begins one waits for its slot, and the client's later messages behind it,
//! while the provider's go on. Where the route limits none, generations are followed all the same: what they used is counted, whoever
//! fails them says so once for each, and nothing of the gateway's own is said inside one.

mod waits;

use super::super::close::SessionErrors;
use super::super::side::Side;
use crate::canon::{CanonicalError, Code, Evidence, GenerationRule, Observed};
use crate::generation::{Asked, Beginning, Outcome, Silent, Tracker, Verdict};
use crate::limit::gate::{AccountSet, Gate, Permit, Setup};
use crate::proxy::RouteRuntime;
use crate::proxy::context::RoutedContext;
use crate::proxy::limits::{self, Denied};
use crate::wire::frame::{Opcode, frame};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

/// An id of so many bytes stands whole in an error.
const SHORT: usize = 200;

type Slot = Result<Held, Denied>;

/// What a generation has: a slot of the plan, and one of its socket where the provider bounds those as well.
#[derive(Default)]
pub(super) struct Held {
    plan: Option<limits::Slot>,
    _socket: Option<Permit>,
}

/// The generations of a socket and their slots.
pub(super) struct Slots {
    route: Arc<RouteRuntime>,
    tracker: Tracker<Held>,
    rule: Arc<GenerationRule>,
    /// Whether the route limits them.
    limited: bool,
    /// Whether a message that is too long to be looked at is refused: it would begin what needs a slot, or has a limit.
    pub(super) strict: bool,
    unread: u64, // characters of messages that were too long to be looked at, until they are charged
    /// Those that were silent, as long as the client has not been told.
    silent: Vec<(Silent, Box<str>)>,
    /// So many at one time on this socket, where the provider has a bound of that kind.
    own: Option<Arc<Gate>>,
    waiting: Option<Waiting>,
    /// What the client has sent behind a message that waits. Bounded: no more is read than fits into one piece.
    ahead: Vec<u8>,
    /// One has ended well since this was last asked.
    well: bool,
}

/// A message that waits for a slot.
struct Waiting {
    beginning: Box<Beginning>,
    frames: Vec<u8>,
    replaced: Option<Vec<u8>>,
    slot: Pin<Box<dyn Future<Output = Slot> + Send>>,
    /// How the wait ended, when the client could not be told yet.
    denied: Option<Denied>,
}

/// A text message of the client's.
pub(super) struct Message<'a> {
    /// As it came.
    pub(super) frames: &'a [u8],
    pub(super) text: &'a [u8],
    /// What goes on in its place.
    pub(super) replaced: Option<&'a [u8]>,
}

/// When a message goes to the provider.
pub(super) enum Pass {
    Now,
    Never,
    /// It has been taken, and nothing behind it may pass before.
    Later,
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("waits", &self.waiting.is_some()).finish_non_exhaustive()
    }
}

impl Message<'_> {
    /// How long it is, without what its frames need.
    pub(super) fn size(&self) -> usize {
        self.replaced.map_or(self.frames.len(), <[u8]>::len)
    }

    /// Its frames as they are sent.
    pub(super) fn framed(&self) -> Vec<u8> {
        match self.replaced {
            Some(message) => frame(Opcode::Text, message, Some(fastrand::u32(..).to_be_bytes())).to_vec(),
            None => self.frames.to_vec(),
        }
    }

    pub(super) fn send<S: AsyncRead + AsyncWrite + Unpin>(&self, to: &mut Side<S>, cx: &mut Context<'_>) {
        match self.replaced {
            Some(message) => to.send_own(cx, Opcode::Text, message),
            None => to.send(cx, self.frames),
        }
    }
}

impl Slots {
    /// Those of a socket on which generations begin; none on any other.
    pub(super) fn of(call: &RoutedContext, route: &Arc<RouteRuntime>) -> Option<Slots> {
        let (method, path) = call.request();
        let rule = route.config.profile.generations(method, path)?;
        let inside = route.config.profile.slots_inside(method, path).is_some();
        let limited = inside && route.limits.counts();
        if !inside && !route.config.generations {
            return None;
        }
        let asked = Asked { method, path, query: call.upstream.target.query() };
        let tracker = Tracker::new(Arc::clone(rule), route.watch(call.destination.upstream), asked, now());
        let own = rule.max().filter(|_| limited).map(|max| Gate::new(&Setup { max, queue: 1, accounts: 1 }));
        Some(Slots {
            route: Arc::clone(route),
            tracker,
            strict: rule.takes_slots() && (limited || call.ledger.is_some() || call.tenant.is_some()),
            rule: Arc::clone(rule),
            unread: 0,
            limited,
            silent: Vec::new(),
            own,
            waiting: None,
            ahead: Vec::new(),
            well: false,
        })
    }

    /// Whether a message of the provider's has to be looked at.
    pub(super) fn may_matter(&mut self, text: &[u8]) -> bool {
        self.tracker.provider_text(text, now())
    }

    /// Whether a message of the client's has to be looked at.
    pub(super) fn looks_at(&mut self, text: &[u8]) -> bool {
        self.tracker.client_text(text, now())
    }

    /// Whether binary messages of the client's, and of the provider's, are audio.
    pub(super) fn hears_binary(&self) -> (bool, bool) {
        self.tracker.hears_binary()
    }

    /// A binary message of the client's, masked, or a part of one.
    pub(super) fn client_binary(&mut self, piece: &[u8]) {
        self.tracker.client_binary(piece.len() as u64, &[], now());
    }

    /// A binary message of the provider's, or a part of one.
    pub(super) fn provider_binary(&mut self, piece: &[u8]) {
        self.tracker.provider_binary(piece.len() as u64, piece, now());
    }

    /// A part of a message of the client's goes on without being looked at.
    pub(super) fn client_unread(&mut self, piece: &[u8]) {
        self.unread += self.tracker.client_unread(piece, now());
    }

    /// What was not looked at is charged.
    pub(super) fn charge_unread(&mut self, call: &RoutedContext) {
        call.ledger.iter().for_each(|ledger| ledger.goes_on(self.unread));
        self.unread = 0;
    }

    /// A message of the provider's goes on without being looked at.
    pub(super) fn unseen(&mut self) {
        self.tracker.unseen();
    }

    /// The client does not take what comes, or takes it again.
    pub(super) fn blocked(&mut self, blocked: bool) {
        self.tracker.blocked(blocked, now());
    }

    /// When one is silent for too long, if nothing comes before.
    pub(super) fn due(&self) -> Option<Instant> {
        self.tracker.due().map(Instant::from_std)
    }

    /// Ends what is silent for too long.
    pub(super) fn overdue(&mut self, call: &RoutedContext, at: Instant) {
        self.tracker.overdue(at.into_std());
        self.free(call, None);
    }

    /// Those that were silent, and of whose silence the client has not been told.
    pub(super) fn take_silent(&mut self) -> Vec<(Silent, Box<str>)> {
        std::mem::take(&mut self.silent)
    }

    /// Whether there are any.
    pub(super) fn has_silent(&self) -> bool {
        !self.silent.is_empty()
    }

    /// Decides on a message of the client's.
    pub(super) fn client(&mut self, message: &Message<'_>, errors: &SessionErrors) -> Pass {
        let seen = Observed::frame(message.text, SystemTime::now());
        let evidence = Evidence::new(&seen);
        let verdict = self.tracker.client(&evidence, now());
        self.free(&errors.call, None);
        let characters = || self.rule.text_of(&evidence).characters;
        let call = &errors.call;
        let denied = match &verdict {
            Verdict::Begin(_) => call.begins(call.ledger.as_ref().map_or(0, |_| characters())).err(),
            Verdict::Pass if self.tracker.any_run() => {
                call.ledger.iter().for_each(|ledger| ledger.goes_on(characters()));
                None
            }
            Verdict::Pass | Verdict::Swallow => None,
        };
        let beginning = match verdict {
            Verdict::Pass => return Pass::Now,
            Verdict::Swallow => return Pass::Never,
            Verdict::Begin(beginning) if denied.is_some() => {
                let slot = Box::pin(std::future::pending());
                self.waiting = Some(Waiting { beginning, frames: Vec::new(), replaced: None, slot, denied });
                return Pass::Later;
            }
            Verdict::Begin(beginning) if !self.limited => {
                self.tracker.watch(self.route.watch(errors.call.destination.upstream));
                self.tracker.began(beginning, Held::default(), now());
                return Pass::Now;
            }
            Verdict::Begin(beginning) => beginning,
        };
        let (frames, replaced) = (message.frames.to_vec(), message.replaced.map(<[u8]>::to_vec));
        let slot = self.slot(&errors.call);
        self.waiting = Some(Waiting { beginning, frames, replaced, slot, denied: None });
        Pass::Later
    }

    fn slot(&self, call: &RoutedContext) -> Pin<Box<dyn Future<Output = Slot> + Send>> {
        let (claim, account) = (call.admission.claim(), AccountSet::only(call.destination.account));
        let credential = call.admission.credential();
        let (route, has_room, own) = (Arc::clone(&self.route), self.tracker.has_room(), self.own.clone());
        Box::pin(async move {
            // A socket with so many units at one time is refused as one that finds the queue full.
            if !has_room {
                return Err(route.limits.full(credential));
            }
            // First its socket's: who waits for that keeps nobody else from the plan.
            let socket = match &own {
                Some(own) => Some(route.limits.slot_in(own, claim).await?),
                None => None,
            };
            let plan = route.limits.slot(credential, claim, account).await?;
            Ok(Held { plan, _socket: socket })
        })
    }

    /// A message of the provider's, and the error that it was.
    pub(super) fn provider(&mut self, text: &[u8], error: Option<&CanonicalError>, call: &RoutedContext) {
        let seen = Observed::frame(text, SystemTime::now());
        let evidence = Evidence::new(&seen);
        match error {
            Some(error) => {
                // An error keeps no more than the beginning of a long id.
                let whole = error.context_id.as_ref().filter(|id| id.len() > SHORT).map(|_| self.rule.id(&evidence));
                let id = whole.filter(|id| !id.is_empty()).or_else(|| error.context_id.clone());
                self.tracker.failed(id.as_deref(), error.code, now());
            }
            None => self.tracker.provider(&evidence, now()),
        }
        self.free(call, error);
    }

    /// Records what has ended, well or with this error of the provider's, and gives back its slot.
    fn free(&mut self, call: &RoutedContext, error: Option<&CanonicalError>) {
        for ended in self.tracker.take_ended() {
            call.record_generation(&ended.record);
            self.well |= ended.record.outcome == Outcome::Complete;
            if let Some(silent) = ended.record.silent {
                self.silent.push((silent, ended.record.id));
            }
            if let (Outcome::Complete | Outcome::Failed, Some(permit)) = (ended.record.outcome, ended.slot.plan) {
                self.route.limits.settled(permit, error);
            }
        }
    }

    /// Whether a unit runs, or waits for its slot.
    pub(super) fn has_work(&self) -> bool {
        self.waiting.is_some() || self.tracker.works()
    }

    /// Whether any is open, whoever waits for whom.
    pub(super) fn any_run(&self) -> bool {
        self.tracker.any_run()
    }

    /// Whether one has ended well since this was last asked.
    pub(super) fn take_well(&mut self) -> bool {
        std::mem::take(&mut self.well)
    }

    /// The ids of the units that run.
    pub(super) fn running(&self) -> Vec<String> {
        self.tracker.ids()
    }

    /// The socket ends: all slots are free, and a place in the queue is given up.
    pub(super) fn end(&mut self, call: &RoutedContext, outcome: Outcome, code: Option<Code>) {
        self.tracker.end(outcome, code, now());
        self.free(call, None);
        self.waiting = None;
    }
}

/// The time as trackers read it.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

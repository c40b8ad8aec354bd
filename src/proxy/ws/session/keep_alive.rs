//! What keeps an idle socket of the provider's open, where the route says so: sent between units of work, and only there.

use super::{Session, Who};
use crate::canon::KeepAlive;
use crate::proxy::RouteRuntime;
use crate::wire::frame::Opcode;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

/// The message, and when it is due.
#[derive(Debug)]
pub(super) struct KeepsOpen {
    what: Arc<KeepAlive>,
    every: Duration,
    /// When the provider was last told anything.
    since: Instant,
    /// The client has said its first word.
    spoken: bool,
}

impl KeepsOpen {
    /// None where the route does not ask for it, or the provider has no such message on this socket.
    pub(super) fn of(route: &RouteRuntime, request: (&str, &str)) -> Option<KeepsOpen> {
        let every = route.config.websocket.keep_alive?;
        let what = route.config.profile.sockets().keep_alive(request.0, request.1)?;
        Some(KeepsOpen { what: Arc::clone(what), every, since: Instant::now(), spoken: false })
    }

    /// Another socket of the provider's takes the place of the last.
    pub(super) fn goes_on(&mut self, now: Instant) {
        self.since = now;
    }

    /// The client has said something.
    pub(super) fn spoke(&mut self, now: Instant) {
        (self.since, self.spoken) = (now, true);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// When the message is due; none while it may not be sent: before what the client has to say first, inside a message, a unit of
    /// work or what waits to be taken, and once the session ends.
    pub(super) fn keep_alive_due(&self) -> Option<Instant> {
        let keeps = self.keeps_open.as_ref()?;
        let works = self.slots.as_ref().is_some_and(super::slots::Slots::has_work);
        let may = keeps.spoken || keeps.what.before_first;
        let quiet = self.client.frames.is_between_messages() && self.provider.is_clear() && self.provider.is_there();
        let ends = self.closing.is_some() || self.over || self.stopping.is_some();
        (may && quiet && !works && !ends).then(|| keeps.since + keeps.every)
    }

    /// Sends it when it is due.
    pub(super) fn keep_alive(&mut self, now: Instant, cx: &mut Context<'_>) {
        if self.keep_alive_due().is_none_or(|due| due > now) {
            return;
        }
        let Some(keeps) = &mut self.keeps_open else { return };
        keeps.since = now;
        let what = Arc::clone(&keeps.what);
        self.side(Who::Provider).send_own(cx, Opcode::Text, what.message.as_bytes());
    }
}

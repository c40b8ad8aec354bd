//! Silence on a socket: the client is told of each generation that it ends. Where generations have ids, the session goes on; where they
//! have none, nobody can tell late audio of one from the next, and it ends.

use super::super::close::{CloseMessage, SilenceMessage};
use super::Session;
use crate::generation::Outcome;
use crate::telemetry::metrics::Initiator;
use crate::wire::close;
use std::task::Context;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Ends what has been silent for too long. Whether the session ends with it.
    pub(super) fn silences(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        if let Some(slots) = &mut self.slots {
            slots.overdue(&self.errors.call, now);
        }
        self.tell_silences(cx)
    }

    /// Tells the client of generations that were silent. Whether the session ends with one.
    pub(super) fn tell_silences(&mut self, cx: &mut Context<'_>) -> bool {
        // In the middle of a message of the provider's nothing else can be said.
        if !self.slots.as_ref().is_some_and(super::slots::Slots::has_silent)
            || !self.provider.frames.is_between_messages()
        {
            return false;
        }
        let all = self.slots.as_mut().map(super::slots::Slots::take_silent).unwrap_or_default();
        for (silent, id) in all {
            let SilenceMessage { message, closing } = self.errors.silent(silent, &id);
            if let Some(message) = message.filter(|_| !self.client.close_sent) {
                self.client.tell(cx, &message);
            }
            if let Some(closing) = closing {
                self.end_in_silence(&closing, cx);
                return true;
            }
        }
        false
    }

    /// Ends the session with a generation of which the client has been told.
    pub(super) fn end_in_silence(&mut self, closing: &CloseMessage, cx: &mut Context<'_>) {
        self.closing(closing.code, Initiator::Gateway);
        self.say(closing, closing.code, cx);
        self.leave_provider(1001, "", cx);
    }

    /// How generations end that run when one side closes the socket with this code.
    pub(super) fn ends_with(code: u16, initiator: Initiator) -> Outcome {
        match initiator {
            Initiator::Client => Outcome::Cancelled,
            Initiator::Provider if matches!(code, 1000 | close::NO_STATUS) => Outcome::Complete,
            Initiator::Provider | Initiator::Gateway => Outcome::Failed,
        }
    }
}

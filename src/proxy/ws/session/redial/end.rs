//! How a socket of the provider's ended, and what its messages come to.

use crate::canon::Fault;
use crate::proxy::ws::side::Side;
use std::task::Context;
use tokio::io::{AsyncRead, AsyncWrite};

/// How it ended.
pub(in crate::proxy::ws::session) struct End {
    pub(super) why: Why,
    pub(super) how: How,
}

/// Why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Idle,
    Drain,
    Loss,
}

/// As what the client is told of it, if no other takes its place.
pub(in crate::proxy::ws::session) enum How {
    /// A close: as it came, its code, its reason.
    Close(Vec<u8>, Option<u16>, String),
    /// A message that says so: its frames, its text.
    Message(Vec<u8>, Vec<u8>),
    Fault(Fault, Option<String>),
}

/// What goes to a provider ahead of a message.
#[must_use]
pub(in crate::proxy::ws::session) struct Ahead {
    pub(super) frames: Vec<u8>,
    /// A ping, whose pong tells that what follows has been read.
    pub(super) ping: bool,
}

impl Ahead {
    pub(in crate::proxy::ws::session) fn send<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        to: &mut Side<S>,
        cx: &mut Context<'_>,
    ) {
        to.send(cx, &self.frames);
        if self.ping {
            to.ping(cx);
        }
    }
}

/// What becomes of a message of the provider's.
pub(in crate::proxy::ws::session) enum Heard {
    Passes,
    /// The client has been told already.
    Again,
    /// It says that the socket ends because nothing was said.
    Ends,
}

impl Why {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Why::Idle => "idle",
            Why::Drain => "drain",
            Why::Loss => "loss",
        }
    }
}

//! The input and output types of the frame reader: limits, what to inspect, units, violations.

use crate::wire::frame::{Broken, Opcode};

/// Size limits for what a peer sends.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy::ws) struct Sizes {
    /// Largest frame, in bytes of payload.
    pub(in crate::proxy::ws) frame: u64,
    /// Largest message, all fragments together.
    pub(in crate::proxy::ws) message: u64,
}

/// Which text messages are inspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy::ws) enum Look {
    /// None.
    Nothing,
    /// Those that begin like a JSON object, unless they are too long to be buffered.
    Objects,
    /// The next one, whatever it is, which must not be too long; after that [`Look::Objects`].
    Next,
}

/// Decides whether a message has to be inspected.
pub(in crate::proxy::ws) type Suspect<'s> = dyn FnMut(Opcode, &[u8]) -> bool + 's;

/// What to do with a complete frame.
pub(super) enum FrameAction {
    Pass,
    /// Buffer it with the fragments before it.
    Hold,
    /// Forward the buffered fragments, then the frame.
    Release,
    /// It completes a message that may be an error.
    Suspect,
    Control,
    Close,
}

/// Part of the stream of one peer.
#[derive(Debug)]
pub(in crate::proxy::ws) enum Unit<'a> {
    /// Data frames that pass unchanged, or a part of one.
    Pass(&'a [u8]),
    /// A text message to inspect: its original frames, and its text.
    Suspect(&'a [u8], &'a [u8]),
    /// A ping or a pong: its original frame, and its payload.
    Control(&'a [u8], &'a [u8]),
    /// A close: its original frame, its code, its reason. Nothing follows it.
    Close(&'a [u8], Option<u16>, &'a str),
}

/// How a peer violated the protocol or a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy::ws) enum Violation {
    /// It violated the protocol.
    Broken(Broken),
    /// Its message, or one frame of it, is larger than [`Sizes`] allow.
    TooLarge,
}

impl From<Broken> for Violation {
    fn from(broken: Broken) -> Violation {
        Violation::Broken(broken)
    }
}

impl Violation {
    /// The code to close with (RFC 6455 7.4.1).
    pub(in crate::proxy::ws) fn close_code(self) -> u16 {
        match self {
            Violation::Broken(broken) => broken.close_code(),
            Violation::TooLarge => 1009,
        }
    }

    /// The reason for the close frame.
    pub(in crate::proxy::ws) fn reason(self) -> &'static str {
        match self {
            Violation::Broken(broken) => broken.reason(),
            Violation::TooLarge => "message too large",
        }
    }
}

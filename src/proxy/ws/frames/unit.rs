//! What a reader of frames is told and what it tells: how much may come, what is looked at, what came, what went too far.

use crate::wire::frame::{Broken, Opcode};

/// How much a peer may send at once.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy::ws) struct Sizes {
    /// Largest frame, in bytes of payload.
    pub(in crate::proxy::ws) frame: u64,
    /// Largest message, all fragments together.
    pub(in crate::proxy::ws) message: u64,
}

/// Which text messages are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy::ws) enum Look {
    /// None.
    Nothing,
    /// Those that begin as a JSON object does, if they are not too long to be held.
    Objects,
    /// The next one, whatever it is; it must not be too long. Then [`Look::Objects`].
    Next,
}

/// Says of a message whether it has to be looked at.
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

/// Something that has come.
#[derive(Debug)]
pub(in crate::proxy::ws) enum Unit<'a> {
    /// Frames of data that pass as they are, or a part of one.
    Pass(&'a [u8]),
    /// A text message that was to be looked at: its frames as they came, and its text.
    Suspect(&'a [u8], &'a [u8]),
    /// A ping or a pong: its frame as it came, and its payload.
    Control(&'a [u8], &'a [u8]),
    /// A close: its frame as it came, its code, its reason. Nothing comes after it.
    Close(&'a [u8], Option<u16>, &'a str),
}

/// How a peer went too far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy::ws) enum Violation {
    /// It broke the protocol.
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

    /// What to say about it.
    pub(in crate::proxy::ws) fn reason(self) -> &'static str {
        match self {
            Violation::Broken(broken) => broken.reason(),
            Violation::TooLarge => "message too large",
        }
    }
}

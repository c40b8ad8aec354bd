//! Sorts the frames of one peer: those that pass unchanged, those that must be inspected, those that end the connection.
//!
//! Pure: bytes in, units out, independent of how the bytes were split. Frames pass unchanged, including masks. A frame is
//! forwarded once it is complete and valid, so that an invalid frame never reaches the other side, and a peer that disconnects
//! inside a frame leaves no partial frame behind. A frame longer than [`HELD`] is forwarded as it arrives.

mod long;
mod payload;
mod unit;

use unit::{FrameAction, Suspect};
pub(super) use unit::{Look, Sizes, Unit, Violation};

use crate::wire::close;
use crate::wire::frame::{Checker, Header, MAX_CONTROL, Opcode, Part, Sender, parse};
use payload::{begins_json, check_text, may_be_json, plain, text_of, unmasked};
use std::cell::Cell;
use std::ops::Range;

/// Most bytes of a frame, or of a text message that may be an error, that are buffered until it is complete.
pub(super) const HELD: usize = 64 * 1024;

/// The same limit for text messages on a socket whose generations are tracked: a long text begins a generation just as a short
/// one does. A longer message is forwarded as it arrives and charged by its length, unless it is rejected for being too long to
/// inspect.
pub(super) const HELD_FOR_SLOTS: usize = 1024 * 1024;

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct FrameReader {
    sender: Sender,
    sizes: Sizes,
    look: Look,
    /// Messages with this opcode are always inspected, because the socket's codec is not plain JSON.
    coded: Option<Opcode>,
    /// Whether binary messages are passed to the callback as they are forwarded.
    shows_binary: bool,
    checker: Checker,
    /// Most bytes of a text message that are buffered until it is complete.
    most: usize,
    /// Whether a text message longer than that is a violation.
    strict: bool,
    /// The current message should have been inspected, but is too long to be buffered.
    unread: bool,
    /// The beginning of an incomplete frame.
    begun: Vec<u8>,
    /// Its header, once that is complete.
    head: Option<Head>,
    /// The frame that is forwarded as it arrives, because it is too long to be buffered.
    passing: Option<Passing>,
    /// The buffered fragments of a text message that may be an error.
    held: Vec<u8>,
    /// A part of a message has been forwarded, and its end has not.
    open: bool,
    /// Payload bytes of the message so far.
    size: u64,
    /// Number of messages whose last frame has begun since `count` was last called.
    messages: u64,
    closed: bool,
}

/// A frame's header, validated for its position in the stream.
#[derive(Clone, Copy, Debug)]
struct Head {
    header: Header,
    /// Bytes of the header itself.
    length: usize,
    part: Part,
}

impl Head {
    /// The length of the frame, unless it is too long to be buffered.
    fn whole(&self, most: usize) -> Option<usize> {
        let payload = usize::try_from(self.header.length).ok().filter(|payload| *payload <= most)?;
        Some(self.length + payload)
    }
}

#[derive(Debug)]
struct Passing {
    part: Part,
    mask: Option<[u8; 4]>,
    done: u64,
    left: u64,
}

impl FrameReader {
    pub(super) fn new(sender: Sender, sizes: Sizes) -> FrameReader {
        FrameReader {
            sender,
            sizes,
            look: if sender == Sender::Server { Look::Objects } else { Look::Nothing },
            coded: None,
            shows_binary: false,
            most: HELD,
            strict: false,
            unread: false,
            checker: Checker::new(false),
            begun: Vec::new(),
            head: None,
            passing: None,
            held: Vec::new(),
            open: false,
            size: 0,
            messages: 0,
            closed: false,
        }
    }

    /// Sets which text messages are inspected from here on.
    pub(super) fn look(&mut self, look: Look) {
        self.look = look;
    }

    /// Sets how long a text message may be that is buffered for inspection, and whether a longer one is too large.
    pub(super) fn hold(&mut self, most: usize, strict: bool) {
        (self.most, self.strict) = (most, strict);
    }

    /// Sets the opcode of messages that use a codec.
    pub(super) fn coded(&mut self, opcode: Option<Opcode>) {
        self.coded = opcode;
    }

    /// Sets whether binary messages are passed to the callback, in pieces and unmasked.
    pub(super) fn show_binary(&mut self, shown: bool) {
        self.shows_binary = shown;
    }

    /// Whether the gateway may insert a frame of its own after what has passed.
    pub(super) fn is_between_frames(&self) -> bool {
        self.passing.is_none()
    }

    /// Whether the gateway may insert a message of its own after what has passed.
    pub(super) fn is_between_messages(&self) -> bool {
        self.passing.is_none() && !self.open
    }

    /// The number of messages since this was last called.
    pub(super) fn count(&mut self) -> u64 {
        std::mem::take(&mut self.messages)
    }

    /// Processes bytes, and returns how many were consumed: all, unless `stop` is set by the callback for a unit. `suspect`
    /// decides whether a text that looks like JSON has to be inspected. It also gets binary messages, if that was requested, and
    /// a text too long to be buffered, in pieces and as `Continuation`.
    ///
    /// # Errors
    /// When the peer violated the protocol or a limit. All units before that have been handed out, and there will be no more.
    pub(super) fn feed(
        &mut self,
        input: &[u8],
        suspect: &mut Suspect<'_>,
        stop: &Cell<bool>,
        take: &mut dyn FnMut(Unit<'_>),
    ) -> Result<usize, Violation> {
        let mut run = 0..0;
        let outcome = self.scan(input, &mut run, suspect, stop, take);
        hand_out(input.get(run.clone()).unwrap_or_default(), take);
        outcome.map(|()| if stop.get() { run.end } else { input.len() })
    }

    /// Processes the frames; `run` is the range that passes and has not been handed out, so that adjacent frames are handed out
    /// together.
    fn scan(
        &mut self,
        input: &[u8],
        run: &mut Range<usize>,
        suspect: &mut Suspect<'_>,
        stop: &Cell<bool>,
        take: &mut dyn FnMut(Unit<'_>),
    ) -> Result<(), Violation> {
        let goes_on = |rest: &&[u8], closed: bool| !rest.is_empty() && !closed && !stop.get();
        while let Some(rest) = input.get(run.end..).filter(|rest| goes_on(rest, self.closed)) {
            if self.passing.is_some() {
                run.end += self.pass_on(rest, suspect)?;
                continue;
            }
            if !self.begun.is_empty() {
                let taken = self.go_on(rest, suspect, take)?;
                *run = run.end + taken..run.end + taken;
                continue;
            }
            let Some(head) = self.begin(rest)? else {
                self.begun = rest.to_vec();
                return Ok(());
            };
            let Some(length) = head.whole(self.room(&head)) else {
                if !self.held.is_empty() {
                    hand_out(input.get(run.clone()).unwrap_or_default(), take);
                    run.start = run.end;
                    self.release_unread(suspect, take);
                }
                run.end += head.length;
                self.pass_from_here(&head);
                continue;
            };
            let Some(frame) = rest.get(..length) else {
                self.head = Some(head);
                self.begun = rest.to_vec();
                return Ok(());
            };
            match self.judge(&head, frame, suspect)? {
                FrameAction::Pass => {
                    self.open = !head.part.last;
                    run.end += length;
                }
                action => {
                    hand_out(input.get(run.clone()).unwrap_or_default(), take);
                    *run = run.end + length..run.end + length;
                    self.settle(&action, &head, frame, take);
                }
            }
        }
        Ok(())
    }

    /// The next frame's header, if it is complete.
    fn begin(&mut self, bytes: &[u8]) -> Result<Option<Head>, Violation> {
        let Some((header, length)) = parse(bytes, self.sender)? else { return Ok(None) };
        let part = self.checker.begin(&header)?;
        if !header.opcode.is_control() {
            self.size = if part.first { header.length } else { self.size.saturating_add(header.length) };
            // Decided by the header alone, so that the payload of an oversized frame is never buffered.
            let message = match part.opcode {
                Opcode::Text if self.look == Look::Next => self.sizes.message.min(HELD as u64),
                Opcode::Text if self.strict => self.sizes.message.min(self.most as u64),
                _ => self.sizes.message,
            };
            if header.length > self.sizes.frame || self.size > message {
                return Err(Violation::TooLarge);
            }
            self.messages += u64::from(part.last);
        }
        Ok(Some(Head { header, length, part }))
    }

    /// Continues a frame that began in an earlier chunk, and returns how many bytes of this chunk belong to it.
    fn go_on(
        &mut self,
        rest: &[u8],
        suspect: &mut Suspect<'_>,
        take: &mut dyn FnMut(Unit<'_>),
    ) -> Result<usize, Violation> {
        let mut taken = 0;
        let head = loop {
            if let Some(head) = self.head {
                break head;
            }
            // Byte by byte, because the header may be followed by another frame.
            let Some(byte) = rest.get(taken) else { return Ok(taken) };
            self.begun.push(*byte);
            taken += 1;
            let begun = std::mem::take(&mut self.begun);
            self.head = self.begin(&begun)?;
            self.begun = begun;
        };
        let Some(length) = head.whole(self.room(&head)) else {
            self.head = None;
            self.release_unread(suspect, take);
            take(Unit::Pass(&std::mem::take(&mut self.begun)));
            self.pass_from_here(&head);
            return Ok(taken);
        };
        let more = rest.get(taken..).unwrap_or_default();
        let more = more.get(..length - self.begun.len()).unwrap_or(more);
        self.begun.extend_from_slice(more);
        taken += more.len();
        if self.begun.len() == length {
            self.head = None;
            let frame = std::mem::take(&mut self.begun);
            let action = self.judge(&head, &frame, suspect)?;
            self.settle(&action, &head, &frame, take);
        }
        Ok(taken)
    }

    /// Decides what to do with a complete frame.
    fn judge(&mut self, head: &Head, frame: &[u8], suspect: &mut Suspect<'_>) -> Result<FrameAction, Violation> {
        let payload = frame.get(head.length..).unwrap_or_default();
        if head.header.opcode == Opcode::Close {
            let mut buffer = [0; MAX_CONTROL as usize];
            let _ = close::read(unmasked(&mut buffer, payload, head.header.mask))?;
            self.closed = true;
            return Ok(FrameAction::Close);
        }
        if head.header.opcode.is_control() {
            return Ok(FrameAction::Control);
        }
        check_text(&mut self.checker, &head.part, payload, head.header.mask, 0, true)?;
        if self.shows_binary && head.part.opcode == Opcode::Binary {
            let _ = suspect(Opcode::Binary, payload);
        }
        let coded = self.coded == Some(head.part.opcode);
        if !coded && head.part.opcode != Opcode::Text || self.look == Look::Nothing {
            return Ok(FrameAction::Pass);
        }
        let any = self.look == Look::Next;
        let mut wanted = |text: &[u8]| any || (coded || begins_json(text)) && suspect(Opcode::Text, text);
        if head.part.first && head.part.last {
            return Ok(if wanted(&plain(payload, head.header.mask)) {
                FrameAction::Suspect
            } else {
                FrameAction::Pass
            });
        }
        let may_be = || any || coded || may_be_json(&plain(payload, head.header.mask));
        let starts_held = head.part.first && !head.part.last && may_be();
        if !starts_held && self.held.is_empty() {
            self.pass_unread(head, payload, suspect);
            return Ok(FrameAction::Pass);
        }
        if self.held.len() + frame.len() > if any { HELD } else { self.most } {
            if any {
                return Err(Violation::TooLarge);
            }
            self.show_held(suspect);
            self.unread = true;
            self.pass_unread(head, payload, suspect);
            return Ok(FrameAction::Release);
        }
        if !head.part.last {
            return Ok(FrameAction::Hold);
        }
        Ok(if wanted(&text_of(&[&self.held, frame].concat(), self.sender)) {
            FrameAction::Suspect
        } else {
            FrameAction::Release
        })
    }

    fn settle(&mut self, action: &FrameAction, head: &Head, frame: &[u8], take: &mut dyn FnMut(Unit<'_>)) {
        let payload = frame.get(head.length..).unwrap_or_default();
        let mut buffer = [0; MAX_CONTROL as usize];
        if matches!(action, FrameAction::Pass | FrameAction::Release | FrameAction::Suspect) {
            self.open = !head.part.last;
        }
        match action {
            FrameAction::Pass => take(Unit::Pass(frame)),
            FrameAction::Hold => self.held.extend_from_slice(frame),
            FrameAction::Release => {
                self.release(take);
                take(Unit::Pass(frame));
            }
            FrameAction::Suspect => {
                if self.look == Look::Next {
                    self.look = Look::Objects;
                }
                if self.held.is_empty() {
                    return take(Unit::Suspect(frame, &plain(payload, head.header.mask)));
                }
                self.held.extend_from_slice(frame);
                let held = std::mem::take(&mut self.held);
                take(Unit::Suspect(&held, &text_of(&held, self.sender)));
            }
            FrameAction::Control => take(Unit::Control(frame, unmasked(&mut buffer, payload, head.header.mask))),
            FrameAction::Close => {
                let payload = unmasked(&mut buffer, payload, head.header.mask);
                // `judge` has parsed it already, so this cannot fail.
                let (code, reason) = close::read(payload).ok().flatten().unzip();
                take(Unit::Close(frame, code, reason.unwrap_or_default()));
            }
        }
    }

    fn release(&mut self, take: &mut dyn FnMut(Unit<'_>)) {
        hand_out(&std::mem::take(&mut self.held), take);
    }
}

fn hand_out(bytes: &[u8], take: &mut dyn FnMut(Unit<'_>)) {
    if !bytes.is_empty() {
        take(Unit::Pass(bytes));
    }
}

#[cfg(test)]
mod tests;

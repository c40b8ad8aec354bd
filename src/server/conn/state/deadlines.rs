//! The deadlines of a connection: for what arrives next, for a blocked write, and for an incomplete frame.

use super::{ConnectionState, NEVER, REST, Reading, UNSET, millis};
use crate::server::conn::frames::FrameEnd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::Instant;

impl ConnectionState {
    /// Records where the bytes of a read end among HTTP/2 frames. Every frame but DATA must be complete in time, even if it
    /// trickles in; DATA may take as long as bytes keep arriving.
    pub(in crate::server::conn) fn frames_end(&self, end: FrameEnd) {
        let within = match end {
            FrameEnd::Whole => return self.frame_deadline.store(NEVER, Relaxed),
            FrameEnd::SameControl => return,
            FrameEnd::NewControl => self.header_timeout,
            FrameEnd::Data => self.body_timeout,
        };
        self.frame_deadline.store(self.now().saturating_add(within), Relaxed);
    }

    /// A write is blocked because the client does not read.
    pub(in crate::server::conn) fn write_blocked(&self) {
        if self.write_deadline.load(Relaxed) == NEVER {
            self.write_deadline.store(self.now().saturating_add(self.write_timeout), Relaxed);
        }
    }

    /// A write succeeded.
    pub(in crate::server::conn) fn written(&self) {
        self.write_deadline.store(NEVER, Relaxed);
    }

    /// The connection resumes waiting for its next request, until this time.
    pub(in crate::server::conn) fn resume_idle(&self, until: Instant) {
        self.reading.store(Reading::Idle as u8, Relaxed);
        self.read_deadline.store(millis(until.saturating_duration_since(self.opened)), Relaxed);
    }

    /// Moves the read deadline forward to at most this far from now.
    pub(in crate::server::conn) fn hurry(&self, within: Duration) {
        self.settle_deadline();
        let _ = self.read_deadline.fetch_min(self.now().saturating_add(millis(within)), Relaxed);
    }

    /// Sets the deadline for a last request on a draining HTTP/2 connection.
    pub(in crate::server::conn) fn last_call(&self, within: Duration) {
        self.set(Reading::Other, millis(within));
    }

    /// The next deadline, if there is one.
    pub(in crate::server::conn) fn deadline(&self) -> Option<Instant> {
        self.settle_deadline();
        let next = self.read_deadline.load(Relaxed).min(self.write_deadline.load(Relaxed));
        let next = next.min(self.frame_deadline.load(Relaxed));
        (next != NEVER).then(|| self.opened + Duration::from_millis(next))
    }

    /// When an idle HTTP/1 connection frees its buffers; none while a request is in progress.
    pub(in crate::server::conn) fn rests_at(&self) -> Option<Instant> {
        let patience = self.keep_alive_timeout.checked_sub(REST).filter(|_| self.is_idle())?;
        Some(self.opened + Duration::from_millis(self.read_deadline.load(Relaxed).checked_sub(patience)?))
    }

    /// Whether the deadline that has passed is the one for writing.
    pub(in crate::server::conn) fn write_is_late(&self) -> bool {
        self.write_deadline.load(Relaxed) <= self.now()
    }

    pub(super) fn set(&self, reading: Reading, within: u64) {
        self.reading.store(reading as u8, Relaxed);
        self.read_deadline.store(self.now().saturating_add(within), Relaxed);
    }

    /// Sets a read deadline relative to the driver's next poll, which follows at once.
    pub(super) fn set_soon(&self, reading: Reading, within: u64) {
        self.reading.store(reading as u8, Relaxed);
        self.read_within.store(within, Relaxed);
        self.read_deadline.store(UNSET, Relaxed);
    }

    pub(super) fn settle_deadline(&self) {
        if self.read_deadline.load(Relaxed) == UNSET {
            self.read_deadline.store(self.now().saturating_add(self.read_within.load(Relaxed)), Relaxed);
        }
    }

    /// Milliseconds since the connection opened.
    pub(super) fn now(&self) -> u64 {
        millis(self.opened.elapsed())
    }
}

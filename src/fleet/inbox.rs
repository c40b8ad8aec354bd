//! What an agent is roused by: its gate, the backend's messages, a connection that came or went.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What the backend told a gateway about a limiter, unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The gateway's turn that this follows upon.
    pub(super) turn: u64,
    /// Its share now.
    pub(super) share: u32,
    /// Whether other gateways wait for slots.
    pub(super) contested: bool,
    /// Gateways that share this limiter, zero when that is not known yet, and the place of this one among them.
    pub(super) size: u32,
    pub(super) rank: u32,
}

/// Where messages for one agent wait: only the latest counts, since it tells the whole.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    told: Mutex<Option<Told>>,
    pub(super) roused: Notify,
}

/// The inboxes of all agents, by the names under which the backend knows them.
#[derive(Debug, Default)]
pub(super) struct Inboxes(Mutex<BTreeMap<String, Arc<Inbox>>>);

impl Told {
    /// `turn share contested size rank name`
    pub(super) fn read(text: &[u8]) -> Option<(&str, Told)> {
        let words: Vec<&str> = std::str::from_utf8(text).ok()?.split(' ').collect();
        let [turn, share, contested, size, rank, name] = words.as_slice() else { return None };
        let turn = turn.parse().ok()?;
        let (share, size, rank) = (share.parse().ok()?, size.parse().ok()?, rank.parse().ok()?);
        Some((name, Told { turn, share, contested: *contested == "1", size, rank }))
    }
}

impl Inbox {
    pub(super) fn take(&self) -> Option<Told> {
        lock(&self.told).take()
    }
}

impl Inboxes {
    /// The inbox of an agent.
    pub(super) fn open(&self, name: &str) -> Arc<Inbox> {
        Arc::clone(lock(&self.0).entry(name.to_owned()).or_default())
    }

    pub(super) fn close(&self, name: &str) {
        drop(lock(&self.0).remove(name));
    }

    /// A message for one.
    pub(super) fn deliver(&self, name: &str, told: Told) {
        let inbox = lock(&self.0).get(name).map(Arc::clone);
        if let Some(inbox) = inbox {
            *lock(&inbox.told) = Some(told);
            inbox.roused.notify_one();
        }
    }

    /// Something happened that concerns all.
    pub(super) fn rouse(&self) {
        for inbox in lock(&self.0).values() {
            inbox.roused.notify_one();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_and_nonsense_is_not() {
        let told = Told { turn: 7, share: 2, contested: true, size: 4, rank: 3 };
        assert_eq!(Told::read(b"7 2 1 4 3 01AB.3"), Some(("01AB.3", told)));
        for nonsense in
            [&b""[..], b"7", b"7 2 1 4 3", b"-1 2 1 4 3 a", b"7 x 1 4 3 a", b"\xff 2 1 4 3 a", b"7 2 1 4 3 a b"]
        {
            assert_eq!(Told::read(nonsense), None);
        }
    }

    #[test]
    fn the_latest_message_counts_and_strangers_get_none() {
        let inboxes = Inboxes::default();
        let inbox = inboxes.open("a");
        let told = |share| Told { turn: 1, share, contested: false, size: 1, rank: 0 };
        inboxes.deliver("a", told(1));
        inboxes.deliver("a", told(2));
        inboxes.deliver("b", told(3));
        assert_eq!((inbox.take(), inbox.take()), (Some(told(2)), None));
        inboxes.close("a");
        inboxes.deliver("a", told(4));
        assert_eq!(inbox.take(), None);
    }
}

//! What an agent is roused by: its gate, the backend's messages, a connection that came or went.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What the backend pushes to a gateway about a limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    /// The last of the gateway's updates that this takes into account.
    pub(super) update: u64,
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
    notice: Mutex<Option<Notice>>,
    pub(super) roused: Notify,
}

/// The inboxes of all agents, by the names under which the backend knows them.
#[derive(Debug, Default)]
pub(super) struct Inboxes(Mutex<BTreeMap<String, Arc<Inbox>>>);

impl Notice {
    /// `update share contested size rank name`
    pub(super) fn read(text: &[u8]) -> Option<(&str, Notice)> {
        let words: Vec<&str> = std::str::from_utf8(text).ok()?.split(' ').collect();
        let [update, share, contested, size, rank, name] = words.as_slice() else { return None };
        let update = update.parse().ok()?;
        let (share, size, rank) = (share.parse().ok()?, size.parse().ok()?, rank.parse().ok()?);
        Some((name, Notice { update, share, contested: *contested == "1", size, rank }))
    }
}

impl Inbox {
    pub(super) fn take(&self) -> Option<Notice> {
        lock(&self.notice).take()
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
    pub(super) fn deliver(&self, name: &str, notice: Notice) {
        let inbox = lock(&self.0).get(name).map(Arc::clone);
        if let Some(inbox) = inbox {
            *lock(&inbox.notice) = Some(notice);
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
        let notice = Notice { update: 7, share: 2, contested: true, size: 4, rank: 3 };
        assert_eq!(Notice::read(b"7 2 1 4 3 01AB.3"), Some(("01AB.3", notice)));
        for nonsense in
            [&b""[..], b"7", b"7 2 1 4 3", b"-1 2 1 4 3 a", b"7 x 1 4 3 a", b"\xff 2 1 4 3 a", b"7 2 1 4 3 a b"]
        {
            assert_eq!(Notice::read(nonsense), None);
        }
    }

    #[test]
    fn the_latest_message_counts_and_strangers_get_none() {
        let inboxes = Inboxes::default();
        let inbox = inboxes.open("a");
        let notice = |share| Notice { update: 1, share, contested: false, size: 1, rank: 0 };
        inboxes.deliver("a", notice(1));
        inboxes.deliver("a", notice(2));
        inboxes.deliver("b", notice(3));
        assert_eq!((inbox.take(), inbox.take()), (Some(notice(2)), None));
        inboxes.close("a");
        inboxes.deliver("a", notice(4));
        assert_eq!(inbox.take(), None);
    }
}

//! What rouses an agent: its gate, messages of the backend, a connection that was made or lost.

use crate::limit::{Crowd, TenantTotals};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Notify;

/// What the backend pushes to a gateway about a limiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    /// The last update of this gateway that the message takes into account.
    pub(super) update: u64,
    /// Its share now.
    pub(super) share: u32,
    /// Whether other gateways wait for slots.
    pub(super) contested: bool,
    /// How many gateways share this limiter (zero: not known yet), and the rank of this one among them.
    pub(super) size: u32,
    pub(super) rank: u32,
    pub(super) fleet: Learned,
    pub(super) crowd: Crowd,
}

/// What the fleet knows of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Learned {
    /// How many slots the provider grants; `None` when only the configured plan is known.
    pub(super) cap: Option<u32>,
    /// How often that has changed.
    pub(super) version: u64,
    /// Slots that the other gateways use.
    pub(super) others: u32,
}

/// Where messages for one agent wait. Only the latest is kept, because each message states the whole.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    notice: Mutex<Option<Notice>>,
    /// The limiter has lost its list of gateways and asks them to register again.
    called: AtomicBool,
    pub(super) roused: Notify,
}

/// The inboxes of all agents.
#[derive(Debug, Default)]
pub(super) struct Inboxes(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    /// By the agents' names at the backend.
    names: BTreeMap<String, Arc<Inbox>>,
    /// By the key of the limiter: one agent each, and for a while after a gate was replaced the old gate's agent too.
    limiters: BTreeMap<String, Vec<Weak<Inbox>>>,
}

impl Notice {
    /// `update share contested size rank learned version others name crowd`
    pub(super) fn read(text: &[u8]) -> Option<(&str, Notice)> {
        let words: Vec<&str> = std::str::from_utf8(text).ok()?.split(' ').collect();
        let [update, share, contested, size, rank, learned, version, others, name, crowd] = words.as_slice() else {
            return None;
        };
        let (update, version) = (update.parse().ok()?, version.parse().ok()?);
        let (share, size, rank) = (share.parse().ok()?, size.parse().ok()?, rank.parse().ok()?);
        let (learned, others): (u32, u32) = (learned.parse().ok()?, others.parse().ok()?);
        let fleet = Learned { cap: (learned > 0).then_some(learned), version, others };
        let crowd = read_crowd(crowd)?;
        Some((name, Notice { update, share, contested: *contested == "1", size, rank, fleet, crowd }))
    }
}

/// `keep` and then, each after a `;`, `tenant:held:others`.
pub(super) fn read_crowd(text: &str) -> Option<Crowd> {
    let mut parts = text.split(';');
    let keep = parts.next()?.parse().ok()?;
    let tenant = |part: &str| {
        let mut words = part.split(':');
        let tenant = match words.next()? {
            "-" => None,
            name => Some(u64::from_str_radix(name, 16).ok()?),
        };
        Some(TenantTotals { tenant, held: words.next()?.parse().ok()?, others: words.next()?.parse().ok()? })
    };
    Some(Crowd { keep, tenants: parts.map(tenant).collect::<Option<_>>()? })
}

impl Inbox {
    pub(super) fn take(&self) -> Option<Notice> {
        lock(&self.notice).take()
    }

    /// Whether the limiter has asked its gateways to register since this was last called.
    pub(super) fn was_called(&self) -> bool {
        self.called.swap(false, Ordering::AcqRel)
    }
}

impl Inboxes {
    /// Creates the inbox of an agent at a limiter.
    pub(super) fn open(&self, name: &str, key: &str) -> Arc<Inbox> {
        let (inbox, mut books) = (Arc::default(), lock(&self.0));
        drop(books.names.insert(name.to_owned(), Arc::clone(&inbox)));
        books.listen(key, &inbox);
        inbox
    }

    /// The key of an agent's limiter has changed.
    pub(super) fn moves(&self, inbox: &Arc<Inbox>, from: &str, to: &str) {
        let mut books = lock(&self.0);
        books.ignore(from, inbox);
        books.listen(to, inbox);
    }

    /// An agent has ended.
    pub(super) fn close(&self, name: &str, key: &str) {
        let mut books = lock(&self.0);
        if let Some(closed) = books.names.remove(name) {
            books.ignore(key, &closed);
        }
    }

    /// Delivers a message to one agent.
    pub(super) fn deliver(&self, name: &str, notice: Notice) {
        let inbox = lock(&self.0).names.get(name).map(Arc::clone);
        if let Some(inbox) = inbox {
            *lock(&inbox.notice) = Some(notice);
            inbox.roused.notify_one();
        }
    }

    /// Rouses every agent.
    pub(super) fn rouse(&self) {
        for inbox in lock(&self.0).names.values() {
            inbox.roused.notify_one();
        }
    }

    /// A limiter has lost its list of gateways: its agents register again.
    pub(super) fn call(&self, limiter: &str) {
        for inbox in lock(&self.0).limiters.get(limiter).into_iter().flatten().filter_map(Weak::upgrade) {
            inbox.called.store(true, Ordering::Release);
            inbox.roused.notify_one();
        }
    }
}

impl Books {
    fn listen(&mut self, key: &str, inbox: &Arc<Inbox>) {
        let all = self.limiters.entry(key.to_owned()).or_default();
        all.retain(|inbox| inbox.strong_count() > 0);
        all.push(Arc::downgrade(inbox));
    }

    fn ignore(&mut self, key: &str, inbox: &Arc<Inbox>) {
        if let Some(all) = self.limiters.get_mut(key) {
            all.retain(|other| !other.ptr_eq(&Arc::downgrade(inbox)));
            if all.is_empty() {
                drop(self.limiters.remove(key));
            }
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
        let fleet = Learned { cap: Some(5), version: 9, others: 1 };
        let tenants = vec![
            TenantTotals { tenant: Some(0xab), held: 1, others: 2 },
            TenantTotals { tenant: None, held: 3, others: 0 },
        ];
        let crowd = Crowd { keep: 6, tenants };
        let notice = Notice { update: 7, share: 2, contested: true, size: 4, rank: 3, fleet, crowd };
        let text = b"7 2 1 4 3 5 9 1 01AB.3 6;00000000000000ab:1:2;-:3:0";
        assert_eq!(Notice::read(text), Some(("01AB.3", notice.clone())));
        let nothing = Notice { fleet: Learned { cap: None, ..fleet }, crowd: Crowd::default(), ..notice };
        assert_eq!(Notice::read(b"7 2 1 4 3 0 9 1 01AB.3 0"), Some(("01AB.3", nothing)));
        for nonsense in [
            &b""[..],
            b"7",
            b"7 2 1 4 3 5 9 1 a",
            b"-1 2 1 4 3 5 9 1 a 0",
            b"7 x 1 4 3 5 9 1 a 0",
            b"\xff 2 1 4 3 5 9 1 a 0",
            b"7 2 1 4 3 5 9 1 a 0 b",
            b"7 2 1 4 3 5 9 1 a 0;x:1:2",
            b"7 2 1 4 3 5 9 1 a 0;-:1",
        ] {
            assert_eq!(Notice::read(nonsense), None);
        }
    }

    #[test]
    fn the_latest_message_counts_and_strangers_get_none() {
        let inboxes = Inboxes::default();
        let inbox = inboxes.open("a", "limiter");
        let (fleet, crowd) = (Learned::default(), Crowd::default);
        let notice = |share| Notice { update: 1, share, contested: false, size: 1, rank: 0, fleet, crowd: crowd() };
        inboxes.deliver("a", notice(1));
        inboxes.deliver("a", notice(2));
        inboxes.deliver("b", notice(3));
        assert_eq!((inbox.take(), inbox.take()), (Some(notice(2)), None));
        inboxes.call("other");
        assert!(!inbox.was_called());
        inboxes.call("limiter");
        assert!(inbox.was_called() && !inbox.was_called());
        inboxes.moves(&inbox, "limiter", "other");
        inboxes.call("limiter");
        assert!(!inbox.was_called());
        inboxes.call("other");
        assert!(inbox.was_called());
        inboxes.close("a", "other");
        inboxes.deliver("a", notice(4));
        assert_eq!(inbox.take(), None);
    }
}

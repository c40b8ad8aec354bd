//! A gate as one would write it down without a thought of cost: lists, looked through from the front. It says who must hold
//! what after each step, and [`World`] holds the real gate to that.

use super::Clock;
use speechgate::limit::{AccountSet, Entry, Gate, GateStats, Permit, Priority, Setup, Waiting};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Something that is done to a gate. Clients go by the order in which they entered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    Enter(Priority, AccountSet),
    Poll(usize),
    Leave(usize),
    Learned(usize, u32),
    Share(usize, Option<u32>),
    Pause(usize, u64),
    Resize(u32, u32),
    Pass(u64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Seat {
    Waits,
    Holds(usize),
    Gone,
}

struct AccountSlots {
    in_use: u32,
    max: u32,
    learned: u32,
    share: Option<u32>,
    paused: Option<Instant>,
    last: usize,
    /// Who got a slot, and who waited for it then, the one who got it included.
    history: Vec<(Priority, Vec<Priority>)>,
}

impl AccountSlots {
    fn cap(&self) -> u32 {
        self.max.min(self.learned).min(self.share.unwrap_or(u32::MAX))
    }

    fn open(&self) -> bool {
        self.paused.is_none() && self.in_use < self.cap()
    }

    fn load(&self) -> f64 {
        f64::from(self.in_use) / f64::from(self.cap())
    }

    /// How many slots in a row went to higher priorities while this one waited.
    fn passed(&self, own: Priority) -> usize {
        let since = self.history.iter().rev().take_while(|(got, waited)| *got != own && waited.contains(&own));
        since.filter(|(got, _)| *got < own).count()
    }
}

struct Naive {
    accounts: Vec<AccountSlots>,
    places: usize,
    clients: Vec<(Priority, AccountSet, Seat)>,
    grants: usize,
}

impl Naive {
    fn waiting(&self, account: usize) -> Vec<usize> {
        let waits = |index: &usize| {
            let (_, accounts, seat) = self.clients[*index];
            seat == Seat::Waits && accounts.contains(account)
        };
        (0..self.clients.len()).filter(waits).collect()
    }

    /// The least loaded account that has a slot, of those that `wanted` names; of two the one that rested longer.
    fn freest(&self, wanted: impl Fn(usize) -> bool) -> Option<usize> {
        let open = (0..self.accounts.len()).filter(|index| self.accounts[*index].open() && wanted(*index));
        let order = |index: &usize| (self.accounts[*index].load(), self.accounts[*index].last);
        open.min_by(|a, b| order(a).partial_cmp(&order(b)).expect("numbers"))
    }

    fn settle(&mut self) {
        while let Some(account) = self.freest(|account| !self.waiting(account).is_empty()) {
            let waiting = self.waiting(account);
            let classes: Vec<Priority> = waiting.iter().map(|index| self.clients[*index].0).collect();
            let due = classes.iter().filter(|class| self.accounts[account].passed(**class) >= 8).max();
            let class = *due.or(classes.iter().min()).expect("somebody waits");
            let first = *waiting.iter().find(|index| self.clients[**index].0 == class).expect("of this class");
            self.accounts[account].history.push((class, classes));
            self.grant(first, account);
        }
    }

    fn grant(&mut self, client: usize, account: usize) {
        self.grants += 1;
        self.accounts[account].in_use += 1;
        self.accounts[account].last = self.grants;
        self.clients[client].2 = Seat::Holds(account);
    }

    fn enter(&mut self, priority: Priority, accounts: AccountSet) {
        let queued = self.clients.iter().filter(|client| client.2 == Seat::Waits).count();
        self.clients.push((priority, accounts, Seat::Gone));
        let last = self.clients.len() - 1;
        if let Some(account) = self.freest(|account| accounts.contains(account)) {
            self.grant(last, account);
        } else if queued < self.places && (0..self.accounts.len()).any(|account| accounts.contains(account)) {
            self.clients[last].2 = Seat::Waits;
        }
    }

    fn leave(&mut self, client: usize) {
        if let Seat::Holds(account) = std::mem::replace(&mut self.clients[client].2, Seat::Gone) {
            self.accounts[account].in_use -= 1;
        }
    }

    fn stats(&self) -> GateStats {
        let queued = self.clients.iter().filter(|client| client.2 == Seat::Waits).count();
        GateStats {
            limit: self.accounts.iter().map(AccountSlots::cap).sum(),
            in_use: self.accounts.iter().map(|account| account.in_use).sum(),
            queued: u32::try_from(queued).expect("few"),
        }
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        assert!(!self.0.swap(true, Ordering::Relaxed), "woken twice");
    }
}

/// What a client has of the real gate.
#[derive(Default)]
struct Client {
    waiting: Option<Waiting>,
    permit: Option<Permit>,
    polled: bool,
    woken: Arc<Flag>,
}

/// The real gate and the naive one, side by side.
pub(crate) struct World {
    gate: Arc<Gate>,
    naive: Naive,
    clients: Vec<Client>,
    clock: Clock,
}

impl World {
    pub(crate) fn new(max: u32, queue: u32, accounts: usize) -> World {
        let account =
            |_| AccountSlots { in_use: 0, max, learned: u32::MAX, share: None, paused: None, last: 0, history: vec![] };
        let naive = Naive {
            accounts: (0..accounts).map(account).collect(),
            places: queue as usize,
            clients: vec![],
            grants: 0,
        };
        World { gate: Gate::new(&Setup { max, queue, accounts }), naive, clients: vec![], clock: Clock::new() }
    }

    /// Does it to both, and compares them.
    pub(crate) fn step(&mut self, step: Step) {
        self.apply(step);
        self.compare();
    }

    /// Does it to both.
    pub(crate) fn apply(&mut self, step: Step) {
        let now = self.clock.now();
        let accounts = self.naive.accounts.len();
        match step {
            Step::Enter(priority, accounts) => {
                self.naive.enter(priority, accounts);
                let mut client = Client::default();
                match self.gate.enter(priority, accounts, now) {
                    Entry::Admitted(permit) => client.permit = Some(permit),
                    Entry::Queued(waiting) => client.waiting = Some(waiting),
                    Entry::Full => {}
                }
                self.clients.push(client);
            }
            Step::Poll(index) => self.poll(index),
            Step::Leave(index) => {
                self.naive.leave(index);
                let client = &mut self.clients[index];
                drop((client.waiting.take(), client.permit.take()));
            }
            Step::Learned(account, cap) => {
                self.naive.accounts[account].learned = cap.max(1);
                self.gate.set_learned(account, cap);
            }
            Step::Share(account, share) => {
                self.naive.accounts[account].share = share;
                self.gate.set_share(account, share);
            }
            Step::Pause(account, ms) => {
                let until = now + Duration::from_millis(ms);
                let paused = &mut self.naive.accounts[account].paused;
                *paused = (*paused).max(Some(until));
                self.gate.pause(account, until);
            }
            Step::Resize(max, queue) => {
                self.naive.places = queue as usize;
                for account in &mut self.naive.accounts {
                    // What was learned is forgotten only where it was the old maximum.
                    account.learned = if account.learned >= account.max { max } else { account.learned.min(max) };
                    account.max = max;
                }
                self.gate.reconfigure(&Setup { max, queue, accounts }, now);
            }
            Step::Pass(ms) => {
                let now = self.clock.pass(Duration::from_millis(ms));
                self.naive
                    .accounts
                    .iter_mut()
                    .for_each(|account| account.paused = account.paused.filter(|until| *until > now));
                self.gate.wake(now);
            }
        }
        self.naive.settle();
    }

    fn poll(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let Some(waiting) = &mut client.waiting else { return };
        let waker = Waker::from(Arc::clone(&client.woken));
        client.polled = true;
        if let Poll::Ready(permit) = std::pin::Pin::new(waiting).poll(&mut Context::from_waker(&waker)) {
            client.permit = Some(permit);
            client.waiting = None;
        }
    }

    pub(crate) fn compare(&self) {
        assert_eq!(self.gate.stats(), self.naive.stats());
        for (index, (client, (.., seat))) in self.clients.iter().zip(&self.naive.clients).enumerate() {
            let waits = client.waiting.is_some();
            let permit = client.permit.as_ref().map(Permit::account);
            match seat {
                Seat::Waits => assert!(waits && permit.is_none(), "{index} waits"),
                Seat::Holds(account) => {
                    assert!(waits || permit == Some(*account), "{index} holds {account}, not {permit:?}")
                }
                Seat::Gone => assert!(!waits && permit.is_none(), "{index} is gone"),
            }
            // Woken if and only if there is a slot to come for.
            if waits && client.polled {
                let granted = *seat != Seat::Waits;
                assert_eq!(client.woken.0.load(Ordering::Relaxed), granted, "{index} is woken");
            }
        }
        for account in 0..self.naive.accounts.len() {
            let demand = self.gate.demand(account);
            let naive = &self.naive.accounts[account];
            // Of a fleet is asked what only a fleet can grant.
            let blocked = naive.paused.is_some() || naive.in_use >= naive.max.min(naive.learned);
            let waiting = if blocked { 0 } else { self.naive.waiting(account).len() };
            assert_eq!((demand.in_use, demand.waiting as usize), (naive.in_use, waiting));
        }
    }

    pub(crate) fn entered(&self) -> usize {
        self.clients.len()
    }

    /// Whether a client would be run by a runtime: it has not been polled yet, or it was woken.
    pub(crate) fn runnable(&self, index: usize) -> bool {
        let client = &self.clients[index];
        client.waiting.is_some() && (!client.polled || client.woken.0.load(Ordering::Relaxed))
    }

    pub(crate) fn waits(&self, index: usize) -> bool {
        self.clients[index].waiting.is_some()
    }

    pub(crate) fn holds(&self, index: usize) -> bool {
        self.clients[index].permit.is_some()
    }

    /// Everybody comes for its slot and leaves; then nothing may be left.
    pub(crate) fn finish(mut self) {
        for account in 0..self.naive.accounts.len() {
            self.step(Step::Share(account, None));
        }
        while let Some(index) = (0..self.clients.len()).find(|index| self.holds(*index) || self.runnable(*index)) {
            self.step(if self.holds(index) { Step::Leave(index) } else { Step::Poll(index) });
        }
        assert_eq!((self.gate.stats().in_use, self.gate.stats().queued), (0, 0));
    }
}

//! What a gate keeps under its lock.

use super::lanes::Lane;
use super::pace::Pace;
use super::queue::{Queue, Waiter};
use super::{Demand, Hook, Lanes, Priority, Setup, count};
use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Instant;

/// A slot that was taken.
#[derive(Clone, Copy)]
pub(super) struct Grant {
    pub(super) lane: usize,
    /// How many slots of the lane were in use with this one.
    pub(super) level: u32,
    /// How often the learned cap of the lane had changed by then.
    pub(super) changes: u32,
}

/// Always true between two calls: nobody waits who could use a slot that is to be had.
pub(super) struct State {
    pub(super) lanes: Vec<Lane>,
    /// How many lanes give out slots; the others are of an earlier setup and are only given back.
    active: usize,
    /// Those among them that nobody means any more: they are only given back, too.
    retired: Lanes,
    pub(super) queue: Queue,
    places: usize,
    /// Slots that were given to waiters who have not come for them yet, by ticket.
    granted: BTreeMap<u64, Grant>,
    tickets: u64,
    turns: u64,
    pub(super) pace: Pace,
    pub(super) hook: Option<Hook>,
}

impl State {
    pub(super) fn new(setup: &Setup) -> State {
        let mut state = State {
            lanes: Vec::new(),
            active: 0,
            retired: Lanes::NONE,
            queue: Queue::default(),
            places: 0,
            granted: BTreeMap::new(),
            tickets: 0,
            turns: 0,
            pace: Pace::new(),
            hook: None,
        };
        state.set_up(setup);
        state
    }

    pub(super) fn set_up(&mut self, setup: &Setup) {
        self.active = setup.lanes.clamp(1, Lanes::MOST);
        self.places = usize::try_from(setup.queue).unwrap_or(usize::MAX);
        for lane in &mut self.lanes {
            lane.max = setup.max;
            lane.learn.set_max(setup.max);
        }
        while self.lanes.len() < self.active {
            self.lanes.push(Lane::new(setup.max));
        }
    }

    /// Ends the pauses and shares that are over.
    pub(super) fn resume(&mut self, now: Instant) {
        for lane in &mut self.lanes {
            lane.resume(now);
        }
    }

    /// What is asked of a lane.
    pub(super) fn demand(&self, index: usize) -> Demand {
        let none = Demand { share: None, max: 0, in_use: 0, waiting: 0, oldest_wait_since: None };
        let Some(lane) = self.lanes.get(index) else { return none };
        let demand = Demand { share: lane.share.map(|share| share.slots), max: lane.max, in_use: lane.in_use, ..none };
        if lane.paused.is_some() || lane.in_use >= lane.without_fleet() {
            return demand;
        }
        let (waiting, oldest_wait_since) = self.queue.waiting(index);
        Demand { waiting: count(waiting), oldest_wait_since, ..demand }
    }

    /// The lanes that give out slots.
    pub(super) fn active(&self) -> impl Iterator<Item = (usize, &Lane)> {
        self.lanes.iter().enumerate().take(self.active).filter(|(index, _)| !self.retired.contains(*index))
    }

    /// These lanes are not meant by anybody any more.
    pub(super) fn retire(&mut self, lanes: Lanes) {
        self.retired = lanes;
    }

    /// Slots in use on all lanes, those of earlier setups included.
    pub(super) fn in_use(&self) -> u32 {
        self.lanes.iter().map(|lane| lane.in_use).sum()
    }

    /// Slots in all.
    pub(super) fn cap(&self) -> u32 {
        self.active().map(|(_, lane)| lane.cap()).fold(0, u32::saturating_add)
    }

    /// Slots in all by the configuration.
    pub(super) fn max(&self) -> u32 {
        self.active().map(|(_, lane)| lane.max).fold(0, u32::saturating_add)
    }

    /// Slots in all by the provider's word.
    pub(super) fn learned(&self) -> u32 {
        self.active().map(|(_, lane)| lane.without_fleet()).fold(0, u32::saturating_add)
    }

    /// How many may wait.
    pub(super) const fn places(&self) -> usize {
        self.places
    }

    /// Takes a slot of one of these lanes. Whoever waits has been served before.
    pub(super) fn take(&mut self, lanes: Lanes) -> Option<Grant> {
        let index = self.freest(lanes)?;
        self.grant(index)
    }

    /// Puts a waiter into the queue; none when it is full, or no lane will ever do.
    pub(super) fn join(&mut self, priority: Priority, lanes: Lanes, now: Instant) -> Option<u64> {
        if self.queue.len() >= self.places || lanes.and(Lanes::first(self.active)).is_empty() {
            return None;
        }
        self.tickets += 1;
        self.queue.push(priority, self.tickets, Waiter { lanes, since: now, waker: None });
        Some(self.tickets)
    }

    /// The slot of a waiter that comes for it.
    pub(super) fn collect(&mut self, ticket: u64) -> Option<Grant> {
        self.granted.remove(&ticket)
    }

    /// Gives a slot back.
    pub(super) fn leave(&mut self, lane: usize, refused: bool, held: bool) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.leave(refused, held);
            self.pace.free();
        }
    }

    /// Gives out what slots there are, and tells whom to wake.
    pub(super) fn dispatch(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        if self.queue.is_empty() {
            return wakers;
        }
        let mut lanes = Lanes::ALL;
        while let Some(index) = self.freest(lanes) {
            let Some(lane) = self.lanes.get_mut(index) else { break };
            match self.queue.next(index, &mut lane.passed) {
                Some((ticket, waiter)) => {
                    wakers.extend(waiter.waker);
                    let grant = self.grant(index);
                    self.granted.extend(grant.map(|grant| (ticket, grant)));
                }
                None => lanes = lanes.without(index),
            }
        }
        wakers
    }

    /// The least loaded of these lanes that has a slot.
    fn freest(&self, lanes: Lanes) -> Option<usize> {
        let open = self.active().filter(|(index, lane)| lanes.contains(*index) && lane.open());
        open.reduce(|best, other| if other.1.freer_than(best.1) { other } else { best }).map(|(index, _)| index)
    }

    fn grant(&mut self, index: usize) -> Option<Grant> {
        let lane = self.lanes.get_mut(index)?;
        self.turns += 1;
        lane.turn = self.turns;
        lane.in_use += 1;
        Some(Grant { lane: index, level: lane.in_use, changes: lane.learn.changes() })
    }
}

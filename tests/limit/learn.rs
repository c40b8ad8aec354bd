//! The cap follows the provider.

use super::{Clock, ms, poll, secs};
use speechgate::limit::learn::{FIRST, LAST, Learn};
use speechgate::limit::{AccountSet, Entry, Gate, Permit, Priority, Setup, Waiting};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn a_refusal_shrinks_to_what_is_held_there() {
    let clock = Clock::new();
    for (max, held, cap) in [(10, 9, 9), (10, 4, 4), (10, 0, 1), (10, 12, 10), (1, 0, 1)] {
        let mut learn = Learn::new(max);
        learn.refused(held, clock.now());
        assert_eq!(learn.cap(), cap, "{max} {held}");
    }
}

#[test]
fn tries_come_after_twice_the_time_each_and_a_proof_forgets_that() {
    let mut clock = Clock::new();
    let mut learn = Learn::new(10);
    learn.refused(4, clock.now());
    let mut waits = Vec::new();
    for _ in 0..7 {
        let start = clock.now();
        while learn.cap() == 4 {
            learn.succeeded(4, clock.pass(ms(100)));
        }
        waits.push((clock.now() - start).as_secs());
        learn.refused(4, clock.now());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    learn.succeeded(4, clock.pass(LAST));
    assert_eq!(learn.cap(), 5);
    // Somebody else's success in an earlier slot is no proof, and without one there is no further try.
    learn.succeeded(4, clock.pass(secs(100)));
    assert_eq!(learn.cap(), 5);
    learn.succeeded(5, clock.now());
    learn.succeeded(6, clock.now());
    assert_eq!(learn.cap(), 7);
    // A refusal soon after a proof is as good as a failed try; one that comes later is not.
    learn.succeeded(7, clock.now());
    for (after, wait) in [(LAST - ms(1), LAST), (LAST, FIRST)] {
        learn.succeeded(8, clock.now());
        let cap = learn.cap();
        learn.refused(6, clock.pass(after));
        learn.succeeded(6, clock.pass(wait - ms(1)));
        assert_eq!((cap > 6, learn.cap()), (true, 6), "{after:?}");
        learn.succeeded(6, clock.pass(ms(1)));
        assert_eq!(learn.cap(), 7);
    }
}

#[test]
fn nothing_is_tried_without_need_and_never_past_the_maximum() {
    let mut clock = Clock::new();
    let mut learn = Learn::new(5);
    learn.refused(3, clock.now());
    learn.succeeded(2, clock.pass(secs(100)));
    assert_eq!(learn.cap(), 3);
    for level in 3..20 {
        learn.succeeded(level, clock.pass(secs(1)));
    }
    assert_eq!(learn.cap(), 5);
}

#[test]
fn headers_set_the_cap_but_for_what_others_use() {
    // What was said: limit, current, ours; and the cap then.
    for (said, cap) in [
        (&[(6, None, 3)][..], 6),
        (&[(20, None, 3)], 10),
        (&[(0, None, 3)], 1),
        (&[(6, Some(3), 3)], 6),
        (&[(6, Some(5), 3)], 4),
        (&[(6, Some(9), 0)], 1),
        // A slot that has just been freed here and still counts there is no other user.
        (&[(6, Some(3), 3), (6, Some(4), 3)], 6),
        (&[(6, Some(5), 3), (6, Some(3), 3)], 6),
    ] {
        let mut clock = Clock::new();
        let mut learn = Learn::new(10);
        for (limit, current, ours) in said {
            learn.reported(*limit, *current, *ours, clock.pass(ms(10)));
        }
        assert_eq!(learn.cap(), cap, "{said:?}");
    }
}

#[test]
fn a_header_raises_at_once_unless_a_refusal_spoke_against_it() {
    let mut clock = Clock::new();
    let mut learn = Learn::new(10);
    learn.reported(4, None, 4, clock.now());
    learn.reported(8, None, 4, clock.pass(ms(1)));
    assert_eq!(learn.cap(), 8);
    let mut refusals = 0;
    // It says eight and accepts four.
    for _ in 0..600 {
        learn.reported(8, None, 4, clock.pass(ms(100)));
        if learn.cap() > 4 {
            refusals += 1;
            learn.refused(4, clock.now());
        }
    }
    assert_eq!(refusals, 6, "of the header, and after 1, 2, 4, 8, 16 seconds; then half a minute has not passed");
}

#[test]
fn a_new_maximum_keeps_what_was_learned_below_it() {
    let clock = Clock::new();
    for (learned, max, cap) in [(None, 20, 20), (None, 4, 4), (Some(6), 20, 6), (Some(6), 4, 4)] {
        let mut learn = Learn::new(10);
        if let Some(held) = learned {
            learn.refused(held, clock.now());
        }
        learn.set_max(max);
        assert_eq!(learn.cap(), cap, "{learned:?} {max}");
    }
}

/// What happens when in the simulation.
enum Event {
    /// A request arrives at the provider.
    Arrive(Permit),
    /// The provider refused it, and the client hears of it.
    Refused(Permit),
    /// The provider begins to answer.
    Begin(Permit),
    /// The last byte came.
    End(Permit),
    /// The provider frees a slot.
    Free,
}

/// A provider whose plan is not known to the gate, and clients who always want more than it has.
struct Simulation {
    gate: Arc<Gate>,
    clock: Clock,
    start: std::time::Instant,
    plan: u32,
    /// How long after the last byte it frees the slot.
    late: Duration,
    running: u32,
    refusals: usize,
    waiting: Vec<Waiting>,
    /// By time in microseconds and number.
    events: BTreeMap<(u64, u64), Event>,
    number: u64,
    /// Slots of the provider in use, times microseconds.
    used: u64,
}

impl Simulation {
    fn new(max: u32, late: Duration) -> Simulation {
        let clock = Clock::new();
        let gate = Gate::new(&Setup { max, queue: 100, accounts: 1 });
        let start = clock.now();
        let events = BTreeMap::new();
        Simulation {
            gate,
            clock,
            start,
            plan: 10,
            late,
            running: 0,
            refusals: 0,
            waiting: vec![],
            events,
            number: 0,
            used: 0,
        }
    }

    fn at(&self) -> u64 {
        u64::try_from((self.clock.now() - self.start).as_micros()).expect("small")
    }

    fn after(&mut self, time: Duration, event: Event) {
        self.number += 1;
        let at = self.at() + u64::try_from(time.as_micros()).expect("small");
        self.events.insert((at, self.number), event);
    }

    /// Goes on for so long, and tells how many refusals there were and which share of the plan was used.
    fn run(&mut self, time: Duration) -> (usize, f64) {
        let (refusals, used) = (self.refusals, self.used);
        let from = self.at();
        let end = from + u64::try_from(time.as_micros()).expect("small");
        self.fill();
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), event) = entry.remove_entry();
            self.to(at);
            self.happen(event);
            self.fill();
        }
        self.to(end);
        let share = (self.used - used) as f64 / ((end - from) as f64 * f64::from(self.plan));
        (self.refusals - refusals, share)
    }

    fn to(&mut self, at: u64) {
        let passed = at - self.at();
        self.used += passed * u64::from(self.running.min(self.plan));
        self.clock.pass(Duration::from_micros(passed));
    }

    fn happen(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::Arrive(permit) if self.running >= self.plan => {
                self.refusals += 1;
                self.after(ms(5), Event::Refused(permit));
            }
            Event::Arrive(permit) => {
                self.running += 1;
                self.after(ms(80), Event::Begin(permit));
            }
            Event::Refused(mut permit) => permit.refused(now),
            Event::Begin(permit) => {
                permit.succeeded(now);
                // From 0.1 to 0.9 seconds of audio.
                let time = ms(100 + self.number * 7919 % 800);
                self.after(time + self.late, Event::Free);
                self.after(time + ms(2), Event::End(permit));
            }
            Event::End(permit) => drop(permit),
            Event::Free => self.running -= 1,
        }
    }

    /// Twenty always wait; whoever gets a slot sends its request.
    fn fill(&mut self) {
        loop {
            let ready: Vec<Option<Permit>> = self.waiting.iter_mut().map(poll).collect();
            let mut ready = ready.into_iter();
            let mut sent: Vec<Permit> = Vec::new();
            self.waiting.retain(|_| {
                let permit = ready.next().flatten();
                let waits = permit.is_none();
                sent.extend(permit);
                waits
            });
            if sent.is_empty() && self.waiting.len() >= 20 {
                return;
            }
            while self.waiting.len() < 20 {
                match self.gate.enter(Priority::Normal, AccountSet::ALL, self.clock.now()) {
                    Entry::Admitted(permit) => sent.push(permit),
                    Entry::Queued(waiting) => self.waiting.push(waiting),
                    Entry::Full => panic!("a queue of a hundred"),
                }
            }
            for permit in sent {
                self.after(ms(3), Event::Arrive(permit));
            }
        }
    }
}

/// What [`Simulation::run`] tells: at most so many refusals, and at least such a share of the plan in use.
fn hold(what: &str, simulation: &mut Simulation, time: Duration, refusals: usize, share: f64) {
    let (refused, used) = simulation.run(time);
    assert!(refused <= refusals && used >= share, "{what}: {refused} refusals, {used} in use");
}

#[test]
fn a_plan_that_shrinks_and_grows_again_is_followed() {
    let mut simulation = Simulation::new(10, Duration::ZERO);
    hold("ten", &mut simulation, secs(10), 0, 0.98);
    simulation.plan = 4;
    // Six that were on their way or followed, and the tries after 1, 3 and 7 seconds.
    hold("four", &mut simulation, secs(10), 6 + 3, 0.98);
    assert_eq!(simulation.gate.cap(0), 4);
    simulation.plan = 10;
    // The try after 15 seconds is the first that succeeds.
    hold("ten again, not noticed", &mut simulation, secs(5), 0, 0.39);
    hold("ten again, noticed", &mut simulation, secs(3), 0, 0.7);
    hold("ten as before", &mut simulation, secs(10), 0, 0.98);
    assert_eq!(simulation.gate.cap(0), 10);
}

#[test]
fn a_plan_that_was_always_smaller_costs_two_refusals_a_minute() {
    let mut simulation = Simulation::new(10, Duration::ZERO);
    simulation.plan = 7;
    hold("the first minute", &mut simulation, secs(60), 3 + 5, 0.98);
    hold("the next ten", &mut simulation, secs(600), 20, 0.98);
}

#[test]
fn a_provider_that_frees_late_is_not_asked_in_vain_for_ever() {
    let mut simulation = Simulation::new(10, ms(12));
    hold("the first minute", &mut simulation, secs(60), 15, 0.75);
    hold("the next ten", &mut simulation, secs(600), 60, 0.75);
}

//! Slots that a gate was lent as its share of a fleet: used as long as they last, and given back.

use super::gate::{admitted, enter, gate, queued};
use super::{Clock, poll, secs};
use speechgate::limit::Gate;
use std::sync::Arc;

/// Has whatever is freed given out at the time of the clock, as whoever sets shares with an end has to.
fn looked_at(gate: &Arc<Gate>, clock: &Clock) {
    let (gate_again, now) = (Arc::downgrade(gate), clock.now());
    gate.on_demand(Arc::new(move || gate_again.upgrade().iter().for_each(|gate| gate.wake(now))));
}

#[test]
fn a_share_is_not_used_past_its_end() {
    let (gate, mut clock) = (gate(4, 8), Clock::new());
    let end = clock.now() + secs(3);
    gate.set_share(0, Some(0));
    gate.shift_share(0, 2, end, false, clock.now());
    let [first, second] = [(); 2].map(|()| admitted(enter(&gate, &clock)));
    let mut third = queued(enter(&gate, &clock));
    drop(first);
    assert!(poll(&mut third).is_none(), "nobody has looked at the time");
    looked_at(&gate, &clock);
    gate.wake(clock.now());
    let third = poll(&mut third).expect("the slot that came free");
    let mut fourth = queued(enter(&gate, &clock));
    drop(third);
    let fourth = poll(&mut fourth).expect("given out at once by the hook");
    clock.pass(secs(3));
    looked_at(&gate, &clock);
    let mut late = queued(enter(&gate, &clock));
    drop((second, fourth));
    assert!(poll(&mut late).is_none());
    gate.wake(clock.now());
    assert_eq!(gate.demand(0).share, Some(0));
    gate.shift_share(0, 1, clock.now() + secs(3), false, clock.now());
    assert!(poll(&mut late).is_some());
}

#[test]
fn slots_that_others_wait_for_are_not_given_out_again() {
    let (gate, clock) = (gate(4, 8), Clock::new());
    looked_at(&gate, &clock);
    let end = clock.now() + secs(3);
    gate.set_share(0, Some(0));
    gate.shift_share(0, 3, end, true, clock.now());
    let permits = [(); 3].map(|()| admitted(enter(&gate, &clock)));
    let mut waiting = queued(enter(&gate, &clock));
    let [first, second, third] = permits;
    drop(first);
    assert!(poll(&mut waiting).is_none());
    let demand = gate.demand(0);
    assert_eq!((demand.share, demand.in_use, demand.waiting, demand.idle()), (Some(2), 2, 1, 0));
    // What was given back stays given back, whatever comes of the question that was asked before.
    gate.shift_share(0, 0, end, true, clock.now());
    assert!(poll(&mut waiting).is_none());
    gate.shift_share(0, 1, end, true, clock.now());
    let fourth = poll(&mut waiting).expect("a slot of the fleet");
    gate.shift_share(0, -5, end, false, clock.now());
    drop((second, third, fourth));
    assert_eq!(gate.demand(0).share, Some(0));
}

#[test]
fn idle_slots_are_given_back_but_some() {
    let (gate, clock) = (gate(8, 8), Clock::new());
    gate.set_share(0, Some(6));
    let one = admitted(enter(&gate, &clock));
    assert_eq!(gate.give_back(0, 2, clock.now()).share, Some(3));
    assert_eq!(gate.give_back(0, 0, clock.now()).share, Some(1));
    drop(one);
    // Without an end it is given out at once.
    let again = admitted(enter(&gate, &clock));
    let mut waiting = queued(enter(&gate, &clock));
    drop(again);
    assert!(poll(&mut waiting).is_some());
}

#[test]
fn a_success_gives_out_no_slot_of_a_share_that_is_over() {
    let (gate, mut clock) = (gate(4, 10), Clock::new());
    gate.set_learned(0, 1);
    gate.set_share(0, Some(0));
    gate.shift_share(0, 4, clock.now() + secs(5), false, clock.now());
    let first = admitted(enter(&gate, &clock));
    let mut second = queued(enter(&gate, &clock));
    clock.pass(secs(60));
    // The first thing that happens after a stop of a minute is that an answer comes.
    first.succeeded(clock.now());
    assert!(poll(&mut second).is_none(), "the share was over 55 s ago");
}

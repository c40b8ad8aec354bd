//! How long the slots of cancelled calls stay taken.

use super::{Clock, secs};
use speechgate::limit::settle::{MEMORY, Settle};
use std::time::Duration;

const CONFIGURED: Duration = Duration::from_millis(100);

#[test]
fn a_slot_settles_for_longer_while_refusals_show_that_it_must() {
    let (mut settle, mut now) = (Settle::default(), Clock::new().now());
    assert_eq!(settle.time(CONFIGURED, now), CONFIGURED);
    settle.refused(CONFIGURED, now);
    assert_eq!(settle.time(CONFIGURED, now), CONFIGURED, "nothing had settled");
    settle.settled(now);
    settle.refused(CONFIGURED, now + secs(3));
    assert_eq!(settle.time(CONFIGURED, now), CONFIGURED, "for another reason");
    for grown in [200, 400, 800, 1600, 3200, 5000, 5000] {
        settle.settled(now);
        settle.refused(CONFIGURED, now);
        // Another call that was refused at the same moment says nothing more.
        settle.refused(CONFIGURED, now);
        assert_eq!(settle.time(CONFIGURED, now), Duration::from_millis(grown));
    }
    now += MEMORY;
    assert_eq!(settle.time(CONFIGURED, now), Duration::from_millis(2500));
    assert_eq!(settle.time(CONFIGURED, now + MEMORY * 100), CONFIGURED);
    assert_eq!(settle.time(Duration::ZERO, now), Duration::ZERO);
}

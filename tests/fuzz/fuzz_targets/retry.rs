//! Any retry hint in any unit: no wait is longer than a year, and a date's wait shrinks as time goes by.
#![no_main]

use libfuzzer_sys::fuzz_target;
use speechgate::canon::retry::wait;
use speechgate::canon::spec::Unit;
use speechgate_fuzz::now;
use std::time::Duration;

const UNITS: [Option<Unit>; 6] =
    [None, Some(Unit::Seconds), Some(Unit::Milliseconds), Some(Unit::Date), Some(Unit::Epoch), Some(Unit::Duration)];

fuzz_target!(|hint: &str| {
    for unit in UNITS {
        let Some(first) = wait(hint, unit, now()) else { continue };
        assert!(first <= Duration::from_secs(366 * 24 * 3600), "{first:?}");
        let later = wait(hint, unit, now() + Duration::from_secs(60)).expect("a hint does not stop being one");
        let shrinks = first.saturating_sub(Duration::from_secs(60));
        assert!(later == first || later == shrinks, "{first:?}, then {later:?}");
    }
});

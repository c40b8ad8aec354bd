//! Silence: a provider that accepts and does not speak, the same for every provider and on every transport: `fault-silent-<name>`.

use super::provider::normalized;
use std::time::Duration;

/// One kind of silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SilentFault {
    /// Its name, without `silent-`.
    pub name: &'static str,
    /// What the client sees.
    pub what: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Never,
    Late,
    Stall,
    Empty,
    HalfOpen,
}

/// Every kind of silence.
pub const SILENT_FAULTS: &[SilentFault] = &[
    row("never", "it is accepted, and nothing more comes of it", Kind::Never),
    row("late", "all of it comes, 6 s too late; `late-<n>`: n milliseconds", Kind::Late),
    row("stall", "audio stops in the middle; `stall-<n>`: it goes on after n milliseconds", Kind::Stall),
    row("empty", "it ends in order, without audio", Kind::Empty),
    row("half-open", "the connection stays, and nothing on it is answered, no ping either", Kind::HalfOpen),
];

/// How late audio is where nobody says it.
const LATE: Duration = Duration::from_secs(6);
/// The longest time that can be asked for, in milliseconds.
const LONGEST: u64 = 3_600_000;

const fn row(name: &'static str, what: &'static str, kind: Kind) -> SilentFault {
    SilentFault { name, what, kind }
}

/// A silence that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silent {
    Never,
    Late(Duration),
    /// For so long; for ever without it.
    Stall(Option<Duration>),
    Empty,
    HalfOpen,
}

/// What a name stands for: `never`, `late-2500`; case and punctuation do not matter.
pub(super) fn find(name: &str) -> Option<Silent> {
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let time = match &name[letters.len()..] {
        "" => None,
        digits => Some(Duration::from_millis(digits.parse().ok().filter(|time| *time <= LONGEST)?)),
    };
    let kind = SILENT_FAULTS.iter().find(|fault| normalized(fault.name) == normalized(letters))?.kind;
    match (kind, time) {
        (Kind::Late, time) => Some(Silent::Late(time.unwrap_or(LATE))),
        (Kind::Stall, time) => Some(Silent::Stall(time)),
        (Kind::Never, None) => Some(Silent::Never),
        (Kind::Empty, None) => Some(Silent::Empty),
        (Kind::HalfOpen, None) => Some(Silent::HalfOpen),
        (Kind::Never | Kind::Empty | Kind::HalfOpen, Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_say_for_how_long() {
        let second = Duration::from_secs(1);
        for (name, expected) in [
            ("never", Some(Silent::Never)),
            ("HALF_OPEN", Some(Silent::HalfOpen)),
            ("late", Some(Silent::Late(LATE))),
            ("late-1000", Some(Silent::Late(second))),
            ("stall", Some(Silent::Stall(None))),
            ("stall-1000", Some(Silent::Stall(Some(second)))),
            ("never-1000", None),
            ("late-99999999", None),
            ("late-99999999999999999999", None),
            ("1000", None),
            ("", None),
        ] {
            assert_eq!(find(name), expected, "{name}");
        }
    }
}

//! Rules and detectors of a profile that can never match, because one that is asked before takes all that they would.
//!
//! Only what is certain is told: a condition covers another when it is not there, or when it lists all that the other lists.
//! Regular expressions and conditions over selectors are compared as they are written.

use crate::canon::spec::{DetectorSpec, OneOrMany, ProfileSpec, RuleSpec, Scalar};
use std::fmt::Debug;

/// The rules that never match, each with the first that stands in its way.
pub(super) fn rules(spec: &ProfileSpec) -> Vec<(usize, usize)> {
    pairs(&spec.rules, |earlier, later| {
        let asked_before = names_whole_code(earlier) || !names_whole_code(later);
        asked_before
            && codes_cover(&texts(&earlier.code), &texts(&later.code))
            && lists_cover(&earlier.status, &later.status)
            && lists_cover(&earlier.phase, &later.phase)
            && lists_cover(&earlier.close, &later.close)
            && (earlier.message.is_none() || earlier.message == later.message)
            && earlier.when.iter().all(|(at, test)| later.when.get(at).is_some_and(|other| same(test, other)))
    })
}

/// The detectors that never find anything, each with the first that stands in its way.
pub(super) fn detectors(spec: &ProfileSpec) -> Vec<(usize, usize)> {
    pairs(&spec.errors, |earlier: &DetectorSpec, later: &DetectorSpec| {
        earlier.phase == later.phase
            && lists_cover(&earlier.path, &later.path)
            && earlier.when.iter().all(|(at, test)| later.when.get(at).is_some_and(|other| same(test, other)))
    })
}

fn pairs<T>(list: &[T], covers: impl Fn(&T, &T) -> bool) -> Vec<(usize, usize)> {
    let first = |(at, later): (usize, &T)| {
        let earlier = list.iter().take(at).position(|earlier| covers(earlier, later))?;
        Some((at, earlier))
    };
    list.iter().enumerate().filter_map(first).collect()
}

/// Whether a rule is asked before the code table: those that name a whole code, or any.
fn names_whole_code(rule: &RuleSpec) -> bool {
    texts(&rule.code).iter().any(|code| code == "*" || !code.starts_with('*') && !code.ends_with('*'))
}

fn texts(codes: &Option<OneOrMany<Scalar>>) -> Vec<String> {
    let text = |code: &Scalar| match code {
        Scalar::Bool(value) => value.to_string(),
        Scalar::Int(value) => value.to_string(),
        Scalar::Float(value) => value.to_string(),
        Scalar::Text(value) => value.clone(),
    };
    codes.iter().flat_map(|codes| codes.as_slice().iter().map(text)).collect()
}

/// Whether every code that the later rule takes is one of the earlier's.
fn codes_cover(earlier: &[String], later: &[String]) -> bool {
    let takes = |pattern: &String, code: &String| {
        let code = code.as_str();
        match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            _ if pattern == "*" || pattern == code => true,
            // A family that lies in this one begins or ends at least as precisely.
            (None, Some(start)) => code.starts_with(start),
            (Some(end), None) => code.ends_with(end),
            (Some(_), Some(_)) | (None, None) => false,
        }
    };
    earlier.is_empty()
        || !later.is_empty() && later.iter().all(|code| earlier.iter().any(|pattern| takes(pattern, code)))
}

fn lists_cover<T: Debug>(earlier: &Option<OneOrMany<T>>, later: &Option<OneOrMany<T>>) -> bool {
    let (Some(earlier), later) = (earlier, later) else { return true };
    let later = later.as_ref().map(OneOrMany::as_slice).unwrap_or_default();
    !later.is_empty() && later.iter().all(|one| earlier.as_slice().iter().any(|other| same(one, other)))
}

/// Whether two conditions are written alike.
fn same<T: Debug>(one: &T, other: &T) -> bool {
    format!("{one:?}") == format!("{other:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_one_takes_is_never_asked() {
        for (rules, expected) in [
            ("{ code = 'A', then = 'x' }, { code = 'A', status = 429, then = 'y' }", &[(1, 0)][..]),
            ("{ code = 'A', status = 429, then = 'x' }, { code = 'A', then = 'y' }", &[]),
            ("{ code = 'UP_*', then = 'x' }, { code = 'UP_STREAM_*', then = 'y' }", &[(1, 0)]),
            // One for a whole code is asked before every family.
            ("{ code = 'UP_*', then = 'x' }, { code = 'UP_STREAM', then = 'y' }", &[]),
            ("{ code = '*', then = 'x' }, { code = 'A', then = 'y' }", &[(1, 0)]),
            ("{ status = [400, 429], then = 'x' }, { status = 429, message = 'm', then = 'y' }", &[(1, 0)]),
            ("{ status = '4xx', then = 'x' }, { status = '4xx', when = { '$.a' = 1 }, then = 'y' }", &[(1, 0)]),
            ("{ when = { '$.a' = 1 }, then = 'x' }, { when = { '$.a' = 2 }, then = 'y' }", &[]),
            ("{ message = 'm', then = 'x' }, { message = 'n', then = 'y' }", &[]),
            ("{ phase = 'close', then = 'x' }, { phase = 'close', close = 1008, then = 'y' }", &[(1, 0)]),
            ("{ close = 1008, then = 'x' }, { phase = 'close', then = 'y' }", &[]),
        ] {
            let spec: ProfileSpec = toml::from_str(&format!("rules = [{rules}]")).expect(rules);
            assert_eq!(super::rules(&spec), expected, "{rules}");
        }
        for (errors, expected) in [
            ("{ phase = 'frame' }, { phase = 'frame', when = { '$.type' = 'error' } }", &[(1, 0)][..]),
            ("{ phase = 'frame', when = { '$.type' = 'error' } }, { phase = 'frame' }", &[]),
            ("{ phase = 'frame' }, { phase = 'sse' }", &[]),
            ("{ phase = 'job', path = 'GET /a' }, { phase = 'job', path = 'GET /b' }", &[]),
        ] {
            let spec: ProfileSpec = toml::from_str(&format!("errors = [{errors}]")).expect(errors);
            assert_eq!(detectors(&spec), expected, "{errors}");
        }
    }

    #[test]
    fn no_built_in_profile_has_one() {
        for name in crate::config::built_in_names() {
            let spec = crate::config::profiles::built_in_spec(name).expect(name);
            assert_eq!((rules(&spec), detectors(&spec)), (Vec::new(), Vec::new()), "{name}");
        }
    }
}

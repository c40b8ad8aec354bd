//! Recent failures, kept in the process for the status page: single errors, errors that persist, and samples of errors that no
//! profile knows.
//!
//! Only errors reach this module. Each takes one short lock and usually leaves a line. During a burst, errors beyond `DETAILED`
//! in a second are only counted, so that a failing provider makes recording no more expensive.

use super::metrics::Transport;
use crate::canon::{Code, Origin};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Number of errors kept.
pub const ERRORS: usize = 200;
/// Errors per second that are kept as lines.
const DETAILED: u32 = 50;
/// After this long without an error, a failure is considered over.
pub const QUIET: Duration = Duration::from_secs(60);
/// Most routes and codes that are tracked at one time.
const RUNS: usize = 2048;
/// Number of samples kept.
const SAMPLES: usize = 50;

/// One error.
#[derive(Clone, Debug)]
pub struct Error {
    /// Its number since the start of the process, from 1.
    pub number: u64,
    /// When it was noticed.
    pub at: SystemTime,
    /// The route; empty when no route matched the request.
    pub route: Arc<str>,
    /// The provider of the route.
    pub provider: Arc<str>,
    /// What happened.
    pub code: Code,
    /// Whose doing it is.
    pub origin: Origin,
    /// Where in the protocol it was found.
    pub transport: Transport,
    /// Method and path, without the query.
    pub request: String,
    /// The HTTP status of the code.
    pub status: u16,
    /// The provider's status, if it responded.
    pub upstream_status: Option<u16>,
    /// This gateway's id.
    pub request_id: String,
    /// The provider's id.
    pub upstream_request_id: Option<String>,
    /// The upstream that it came from, if the route has several.
    pub upstream: Option<String>,
    /// The message, truncated.
    pub message: String,
}

/// Errors of one route, code and origin, without a pause longer than [`QUIET`].
#[derive(Clone, Debug)]
pub struct Run {
    /// The route.
    pub route: Arc<str>,
    /// Its provider.
    pub provider: Arc<str>,
    /// The code.
    pub code: Code,
    /// Whose doing it is.
    pub origin: Origin,
    /// When the first error was noticed.
    pub since: SystemTime,
    /// When the last error was noticed.
    pub last: SystemTime,
    /// The number of errors.
    pub count: u64,
}

/// An error that no profile knows, ready for `speechgate explain`.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The route.
    pub route: Arc<str>,
    /// Its provider.
    pub provider: Arc<str>,
    /// The provider's own code, truncated; empty when it gave none.
    pub upstream_code: String,
    /// The code that it was mapped to.
    pub code: Code,
    /// When it was first noticed.
    pub first: SystemTime,
    /// When it was last noticed.
    pub last: SystemTime,
    /// How often it was noticed.
    pub count: u64,
    /// What the provider sent, with secrets redacted.
    pub text: String,
    /// The `--transport` to explain it with.
    pub transport: &'static str,
    /// Method and path as the provider sees them: the `--path` to explain it with.
    pub path: String,
}

/// The recent failures.
#[derive(Debug, Default)]
pub struct Journal {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    errors: VecDeque<Arc<Error>>,
    number: u64,
    /// By route, provider, code and origin.
    runs: BTreeMap<Key, Run>,
    samples: Vec<Sample>,
    /// The current second, and the number of errors in it.
    second: u64,
    in_second: u32,
}

type Key = (Arc<str>, Arc<str>, Code, u8);

impl Journal {
    /// Records an error of a route and provider. `line` makes the entry that is kept, and is not called during a burst.
    pub fn error(
        &self,
        route: &Arc<str>,
        provider: &Arc<str>,
        code: Code,
        origin: Origin,
        at: SystemTime,
        line: impl FnOnce() -> Error,
    ) {
        if !self.lock().count((Arc::clone(route), Arc::clone(provider), code, origin as u8), origin, at) {
            return;
        }
        let mut error = line();
        let mut inner = self.lock();
        inner.number += 1;
        error.number = inner.number;
        if inner.errors.len() == ERRORS {
            let _ = inner.errors.pop_front();
        }
        inner.errors.push_back(Arc::new(error));
    }

    /// Records an error that no profile knows. `sample` makes the entry that is kept, and is called only for the first of its
    /// kind.
    pub fn unmapped(&self, route: &str, upstream_code: &str, at: SystemTime, sample: impl FnOnce() -> Sample) {
        if self.lock().seen_again(route, upstream_code, at) {
            return;
        }
        let sample = sample();
        let mut inner = self.lock();
        // Another worker may have added it in the meantime.
        if inner.seen_again(route, upstream_code, at) {
            return;
        }
        if inner.samples.len() == SAMPLES {
            // Replaces the sample that was last seen longest ago.
            let oldest = inner.samples.iter().enumerate().min_by_key(|(_, sample)| sample.last).map(|(index, _)| index);
            oldest.map(|index| inner.samples.swap_remove(index));
        }
        inner.samples.push(sample);
    }

    /// The errors with a higher number than this one, oldest first.
    #[must_use]
    pub fn errors(&self, after: u64) -> Vec<Arc<Error>> {
        self.lock().errors.iter().filter(|error| error.number > after).map(Arc::clone).collect()
    }

    /// The failures that persist, most errors first.
    #[must_use]
    pub fn failing(&self, now: SystemTime) -> Vec<Run> {
        let mut runs: Vec<Run> = self.lock().runs.values().filter(|run| !is_over(run, now)).cloned().collect();
        runs.sort_by_key(|run| std::cmp::Reverse(run.count));
        runs
    }

    /// The failure with the most recent error.
    #[must_use]
    pub fn last_error(&self) -> Option<Run> {
        self.lock().runs.values().max_by_key(|run| run.last).cloned()
    }

    /// The samples, the kind that appeared last first.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        let mut samples = self.lock().samples.clone();
        samples.sort_by_key(|sample| std::cmp::Reverse(sample.first));
        samples
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn seen_again(&mut self, route: &str, upstream_code: &str, at: SystemTime) -> bool {
        let same = |known: &&mut Sample| &*known.route == route && known.upstream_code == upstream_code;
        let known = self.samples.iter_mut().find(same);
        known.map(|known| (known.last, known.count) = (at, known.count + 1)).is_some()
    }

    /// Counts an error for its run. Returns whether it is to be kept as a line as well.
    fn count(&mut self, key: Key, origin: Origin, at: SystemTime) -> bool {
        if let Some(run) = self.runs.get_mut(&key) {
            if is_over(run, at) {
                (run.since, run.count) = (at, 0);
            }
            (run.last, run.count) = (run.last.max(at), run.count + 1);
        } else if self.runs.len() < RUNS {
            let (route, provider, code, _) = key.clone();
            let _ = self.runs.insert(key, Run { route, provider, code, origin, since: at, last: at, count: 1 });
        }
        let second = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        if second != self.second {
            (self.second, self.in_second) = (second, 0);
        }
        self.in_second += 1;
        self.in_second <= DETAILED
    }
}

fn is_over(run: &Run, now: SystemTime) -> bool {
    // A clock that was set back does not end a run.
    now.duration_since(run.last).is_ok_and(|quiet| quiet > QUIET)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(at: SystemTime) -> Error {
        Error {
            number: 0,
            at,
            route: Arc::from("tts"),
            provider: Arc::from("acme"),
            code: Code::Overloaded,
            origin: Origin::Provider,
            transport: Transport::Http,
            request: String::new(),
            status: 503,
            upstream_status: Some(503),
            request_id: String::new(),
            upstream_request_id: None,
            upstream: None,
            message: String::new(),
        }
    }

    fn fail(journal: &Journal, at: SystemTime) {
        let (route, provider) = (Arc::from("tts"), Arc::from("acme"));
        journal.error(&route, &provider, Code::Overloaded, Origin::Provider, at, || error(at));
    }

    #[test]
    fn a_burst_keeps_a_bounded_number_of_lines_and_counts_every_error() {
        let (journal, now) = (Journal::default(), SystemTime::UNIX_EPOCH + QUIET);
        for _ in 0..1000 {
            fail(&journal, now);
        }
        assert_eq!(journal.errors(0).len(), DETAILED as usize);
        assert_eq!(journal.failing(now)[0].count, 1000);
        for second in 1..100 {
            fail(&journal, now + Duration::from_secs(second));
        }
        assert_eq!(journal.errors(0).len(), DETAILED as usize + 99);
        for second in 100..1000 {
            fail(&journal, now + Duration::from_secs(second));
        }
        assert_eq!(journal.errors(0).len(), ERRORS);
        let last = journal.errors(0).last().expect("a line").number;
        assert_eq!((journal.errors(last).len(), journal.errors(last - 1).len()), (0, 1));
    }

    #[test]
    fn a_failure_lasts_from_its_first_error_until_it_is_quiet() {
        let (journal, start) = (Journal::default(), SystemTime::UNIX_EPOCH + QUIET);
        let since = |now| journal.failing(now).first().map(|run| (run.since, run.count));
        fail(&journal, start);
        fail(&journal, start + QUIET);
        assert_eq!(since(start + QUIET * 2), Some((start, 2)));
        assert_eq!(since(start + QUIET * 2 + Duration::from_secs(1)), None);
        let again = start + QUIET * 5;
        fail(&journal, again);
        assert_eq!(since(again), Some((again, 1)));
    }

    #[test]
    fn samples_are_made_once_and_the_one_seen_longest_ago_is_replaced() {
        let journal = Journal::default();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let see = |code: &str, seconds| {
            journal.unmapped("tts", code, at(seconds), || Sample {
                route: Arc::from("tts"),
                provider: Arc::from("acme"),
                upstream_code: code.to_owned(),
                code: Code::UnknownError,
                first: at(seconds),
                last: at(seconds),
                count: 1,
                text: String::new(),
                transport: "http",
                path: String::new(),
            });
        };
        see("first", 0);
        for index in 1..SAMPLES as u64 {
            see(&format!("code-{index}"), index);
        }
        see("first", 1000);
        see("one more", 1001);
        let samples = journal.samples();
        let known = |code: &str| samples.iter().find(|sample| sample.upstream_code == code).map(|sample| sample.count);
        assert_eq!(samples.len(), SAMPLES);
        assert_eq!((known("first"), known("one more"), known("code-1")), (Some(2), Some(1), None));
    }
}

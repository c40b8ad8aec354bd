//! Detectors: which responses, events and messages are failures although no status says so.

use super::condition::{self, Condition, Written};
use super::evidence::Evidence;
use super::path::Path;
use super::problems::{Problems, compile_paths};
use super::spec::{DetectorSpec, Phase};
use super::template::PathTemplate;
use memchr::memmem::Finder;

/// One way to recognise a failure that no HTTP status tells.
#[derive(Debug)]
pub struct Detector {
    /// Its index in the profile as written; those of the bases follow.
    pub index: usize,
    pub(super) phase: Phase,
    pub(super) paths: Vec<PathTemplate>,
    conditions: Vec<Condition>,
    pub(super) ignore: bool,
    /// The member that the canonical object replaces.
    pub member: Option<Path>,
    /// Whether the session or stream ends with it.
    pub fatal: Option<bool>,
}

/// Bytes one of which must occur in a message that could be an error.
#[derive(Debug)]
pub(super) enum Needles {
    /// The bytes alone cannot rule anything out.
    Anything,
    Bytes(Vec<Finder<'static>>),
}

impl Detector {
    pub(super) fn covers(&self, method: &str, path: &str) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|template| template.matches(method, path))
    }

    pub(super) fn matches(&self, request: Option<(&str, &str)>, evidence: &Evidence<'_>) -> bool {
        let here = request.is_none_or(|(method, path)| self.covers(method, path));
        self.phase == evidence.phase && here && self.conditions.iter().all(|condition| condition.holds(evidence))
    }
}

/// Compiles the detectors of a profile.
pub(super) fn compile(specs: &[DetectorSpec], problems: &mut Problems) -> Vec<Detector> {
    let mut detectors = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let at = format!("errors[{index}]");
        if matches!(spec.phase, Phase::Http | Phase::Handshake | Phase::Abort | Phase::Grpc) {
            let phase = format!("{at}.phase");
            problems
                .add(phase, "an answer of 400 or more is always a failure; expected job, sse, ndjson, frame or close");
        }
        let paths = compile_paths(&format!("{at}.path"), spec.path.as_ref(), problems);
        let conditions = problems.keep(format!("{at}.when"), condition::compile_all(&spec.when)).unwrap_or_default();
        if conditions.is_empty() && spec.phase != Phase::Close {
            problems
                .add(format!("{at}.when"), "without a condition every success would be a failure; give at least one");
        }
        let member = spec.member.as_deref().and_then(|member| {
            let path = problems.keep(format!("{at}.member"), Path::parse(member))?;
            let keys = path.keys().is_some_and(|keys| !keys.is_empty());
            if !keys {
                problems.add(format!("{at}.member"), "expected a path of member names, such as `$.error`");
            }
            Some(path)
        });
        detectors.push(Detector {
            index,
            phase: spec.phase,
            paths,
            conditions,
            ignore: spec.ignore,
            member,
            fatal: spec.fatal,
        });
    }
    detectors
}

/// What must occur in the bytes; on sockets with a codec they are `written` differently from JSON.
pub(super) fn needles(detectors: &[Detector], written: Written) -> Vec<(Phase, Needles)> {
    let mut all: Vec<(Phase, Option<Vec<String>>)> = Vec::new();
    for detector in detectors.iter().filter(|detector| !detector.ignore) {
        // The rarest bytes first: values before member names, long before short.
        let rarity = |needles: &Vec<String>| {
            let is_value = needles.iter().all(|needle| !needle.starts_with('"'));
            (is_value, needles.iter().map(String::len).min())
        };
        let written = if detector.phase == Phase::Job { Written::default() } else { written };
        let mine = detector.conditions.iter().filter_map(|one| one.needles(written)).max_by_key(rarity);
        match all.iter_mut().find(|(phase, _)| *phase == detector.phase) {
            Some((_, known)) => *known = known.take().zip(mine).map(|(known, mine)| [known, mine].concat()),
            None => all.push((detector.phase, mine)),
        }
    }
    let search = |needles: Option<Vec<String>>| needles.map_or(Needles::Anything, |needles| Needles::of(&needles));
    all.into_iter().map(|(phase, needles)| (phase, search(needles))).collect()
}

impl Needles {
    /// Whether bytes could be an error.
    pub(super) fn may_match(&self, bytes: &[u8]) -> bool {
        match self {
            Needles::Anything => true,
            Needles::Bytes(needles) => needles.iter().any(|needle| needle.find(bytes).is_some()),
        }
    }

    /// A string that contains another need not be searched for: the shorter one covers it.
    fn of(needles: &[String]) -> Needles {
        let mut least: Vec<&str> = Vec::new();
        for needle in needles {
            if !least.iter().any(|known| needle.contains(known)) {
                least.retain(|known| !known.contains(needle.as_str()));
                least.push(needle);
            }
        }
        Needles::Bytes(least.into_iter().map(|needle| Finder::new(needle.as_bytes()).into_owned()).collect())
    }
}

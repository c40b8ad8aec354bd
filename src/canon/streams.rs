//! Streams whose last event is known: one that ends in order without it was cut off.

use super::condition::AnyOf;
use super::evidence::Evidence;
use super::spec::{OneOrMany, Phase, StreamSpec};
use super::template::PathTemplate;
use memchr::memmem::Finder;

/// One kind of stream.
#[derive(Debug)]
pub struct Stream {
    phase: Phase,
    paths: Vec<PathTemplate>,
    last: AnyOf,
    /// Bytes one of which stands in every last event; none when any may.
    needles: Option<Vec<Finder<'static>>>,
}

impl Stream {
    pub(crate) fn compile(at: &str, spec: &StreamSpec, problem: &mut dyn FnMut(String, String)) -> Stream {
        if !matches!(spec.phase, Phase::Sse | Phase::Ndjson | Phase::Frame) {
            problem(format!("{at}.phase"), "expected sse, ndjson or frame".to_owned());
        }
        let mut paths = Vec::new();
        for path in spec.path.as_ref().map(OneOrMany::as_slice).unwrap_or_default() {
            match PathTemplate::parse(path) {
                Ok(path) => paths.push(path),
                Err(error) => problem(format!("{at}.path"), error),
            }
        }
        let last = AnyOf::compile(&format!("{at}.last"), Some(&spec.last), problem);
        Stream { phase: spec.phase, paths, needles: last.needles(), last }
    }

    pub(crate) fn covers(&self, phase: Phase, method: &str, path: &str) -> bool {
        let here = || self.paths.is_empty() || self.paths.iter().any(|template| template.matches(method, path));
        self.phase == phase && here()
    }

    /// Whether the bytes of an event could be the last one: nothing else is parsed.
    #[must_use]
    pub fn may_end(&self, bytes: &[u8]) -> bool {
        self.needles.as_ref().is_none_or(|needles| needles.iter().any(|needle| needle.find(bytes).is_some()))
    }

    /// Whether an event is the last one of a whole stream.
    #[must_use]
    pub fn ends(&self, evidence: &Evidence<'_>) -> bool {
        self.last.holds(evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{Observed, Profile, ProfileSpec};
    use std::time::UNIX_EPOCH;

    #[test]
    fn the_last_event_of_a_stream_is_known() {
        let text = "[[streams]]\nphase = \"sse\"\npath = \"POST /v1/speech\"\n\
            last = [{ text = \"[DONE]\" }, { \"$.type\" = \"speech.done\" }]\n";
        let spec: ProfileSpec = toml::from_str(text).expect("a profile");
        let profile = Profile::compile("x", spec).expect("a right profile");
        assert!(profile.stream(Phase::Sse, "GET", "/v1/speech").is_none());
        assert!(profile.stream(Phase::Ndjson, "POST", "/v1/speech").is_none());
        let stream = profile.stream(Phase::Sse, "POST", "/v1/speech").expect("a stream");
        for (data, may, ends) in [
            ("[DONE]", true, true),
            ("{\"type\":\"speech.done\"}", true, true),
            ("{\"type\":\"speech.delta\",\"text\":\"speech.done\"}", true, false),
            ("{\"text\":\"[DONE]\"}", true, false),
            ("{\"type\":\"speech.delta\"}", false, false),
        ] {
            let seen = Observed::event(None, data.as_bytes(), UNIX_EPOCH);
            assert_eq!(stream.may_end(data.as_bytes()), may, "{data}");
            assert_eq!(stream.ends(&Evidence::new(&seen)), ends, "{data}");
        }
    }
}

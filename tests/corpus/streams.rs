//! Streams whose last event is known: a recording of one that ends in order without it was cut off, as the gateway says.

use super::{Sample, Unit, compiled, detect, read_event, samples, specs, truth};
use speechgate::canon::{Evidence, Observed, Phase, Profile, Stream};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

/// The stream with a known last event that a sample records, if it is one.
fn known<'p>(profile: &'p Profile, sample: &Sample) -> Option<&'p Arc<Stream>> {
    let (method, path) = sample.request.as_ref()?;
    let phase = sample.units.iter().map(|unit| unit.phase).find(|phase| matches!(phase, Phase::Sse | Phase::Ndjson))?;
    profile.stream(phase, method, path)
}

/// What the gateway adds to a recording: that it was cut, unless its last event or a failure was in it.
pub(super) fn cut(profile: &Profile, sample: &Sample) -> Option<Unit> {
    let stream = known(profile, sample)?;
    let request = sample.request.as_ref().map(|(method, path)| (method.as_str(), path.as_str()));
    let told = sample.units.iter().any(|unit| {
        let seen = read_event(unit);
        let evidence = Evidence::new(&seen);
        let ends = stream.ends(&evidence);
        assert!(!ends || stream.may_end(&unit.raw), "{}: the bytes of its last event say that it is none", sample.name);
        ends || detect::detect(profile, request, &evidence).is_some()
    });
    (!told).then(|| Unit::new(Phase::Abort, b""))
}

#[test]
fn every_known_stream_has_a_sample_that_is_whole_and_one_that_was_cut() {
    let (profiles, truth) = (compiled(|_| {}), truth());
    let mut seen: BTreeMap<(String, usize), [bool; 2]> = BTreeMap::new();
    for sample in samples() {
        let Some(stream) = known(&profiles[&sample.provider], &sample) else { continue };
        let cut = sample.units.last().is_some_and(|unit| unit.phase == Phase::Abort);
        let whole = truth[&sample.name][0] == "CONTROL";
        let both = seen.entry((sample.provider, Arc::as_ptr(stream).addr())).or_default();
        *both = [both[0] | cut, both[1] | whole];
    }
    for (name, spec) in specs() {
        let bodies = spec.streams.iter().filter(|stream| stream.phase != Phase::Frame).count();
        let shown = seen.iter().filter(|((provider, _), both)| *provider == name && **both == [true; 2]).count();
        assert_eq!(shown, bodies, "{name}: streams with a whole sample and a cut one");
    }
}

/// Sockets whose last message is known; `tests/ws` closes one without it.
#[test]
fn every_known_last_message_of_a_socket_has_a_sample() {
    let (profiles, truth, samples) = (compiled(|_| {}), truth(), samples());
    for (name, spec) in specs() {
        for stream in spec.streams.iter().filter(|stream| stream.phase == Phase::Frame) {
            let path = stream.path.as_ref().expect("a path").as_slice().first().expect("a path");
            let (method, path) = path.split_once(' ').expect("a method and a path");
            let stream = profiles[&name].stream(Phase::Frame, method, path).expect("a stream");
            let own = samples.iter().filter(|sample| sample.provider == name && truth[&sample.name][0] == "CONTROL");
            let mut messages = own.flat_map(|sample| &sample.units).filter(|unit| unit.phase == Phase::Frame);
            let codec = profiles[&name].codec(Some((method, path)));
            let said = messages.any(|unit| {
                let message = detect::Coded::message(codec, &unit.raw);
                let seen = message.observed(Observed::frame(message.body(), SystemTime::UNIX_EPOCH));
                stream.ends(&Evidence::new(&seen))
            });
            assert!(said, "{name}: no sample of the last message on {path}");
        }
    }
}

//! Every recorded failure gives its expected envelope, and every row, rule and detector of a profile is hit by one.
//!
//! `tests/corpus/<provider>/<name>.<ext>`, with the envelope beside it in `<name>.<ext>.json`:
//! * `.http`: status line, headers, body. A line `> GET /path` in front tells the request where that matters, for a
//!   failure inside a 200; `> GET /path websocket` stands before a refused handshake.
//! * `.sse`, `.ndjson`: a stream; the first event or line that is an error counts. A stream that ends inside an event broke, and so
//!   did one whose request (in an `.http`) has a known last event that is not there.
//! * `.ws`: one text message. `.bin`: one binary message. `.close`: code and reason of a close.
//! * `.grpc`: the trailers of a gRPC call, one a line.
//!
//! `shapes.tsv` has errors of providers that have no profile, one a line; what they must mean stands beside them.
//!
//! `expected.tsv` says independently of the profiles what each sample means; it comes from the providers' documents, and
//! a profile that is wrong is caught by it. `seed-codes.tsv` lists the codes that those documents promise. After a wanted
//! change, `SPEECHGATE_BLESS=1 cargo test --test corpus` rewrites the envelopes; read the difference.

use http::{HeaderMap, HeaderName, HeaderValue};
use speechgate::canon::envelope::{self, Stamp};
use speechgate::canon::explain::explain;
use speechgate::canon::grpc;
use speechgate::canon::spec::DetectorSpec;
use speechgate::canon::{Evidence, Fallback, Matched, Observed, Phase, Profile, ProfileSpec};
use speechgate::detect::{self, Coded, Detected};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[path = "corpus/samples.rs"]
mod samples;
#[path = "corpus/streams.rs"]
mod streams;
#[path = "corpus/weights.rs"]
mod weights;

use samples::{Sample, Unit, read_event, samples};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What a sample means: type, code, status on the wire, whether to retry, the provider's code; as in `expected.tsv`.
type Meaning = [String; 5];

/// The outcome of one sample.
struct Outcome {
    meaning: Meaning,
    envelope: String,
    matched: String,
    detector: Option<usize>,
}

#[test]
fn every_sample_means_what_its_provider_says() {
    let (profiles, truth, samples) = (compiled(|_| {}), truth(), samples());
    let bless = std::env::var_os("SPEECHGATE_BLESS").is_some();
    let mut problems = Vec::new();
    for sample in &samples {
        let outcome = outcome(&profiles[&sample.provider], sample);
        let problem = match (truth.get(&sample.name), outcome) {
            (None, _) => Some("no line in expected.tsv".to_owned()),
            (Some([kind, ..]), None) => (kind != "CONTROL").then(|| "not recognised".to_owned()),
            (Some(expected), Some(found)) if *expected != found.meaning => Some(format!(
                "expected {}\n  found    {}\n  by {}",
                expected.join(" "),
                found.meaning.join(" "),
                found.matched
            )),
            (Some(_), Some(found)) => envelope_problem(sample, &found.envelope, bless),
        };
        problems.extend(problem.map(|problem| format!("{}: {problem}", sample.name)));
    }
    let names: BTreeSet<_> = samples.iter().map(|sample| sample.name.as_str()).collect();
    let orphans = truth.keys().filter(|name| !names.contains(name.as_str()));
    problems.extend(orphans.map(|name| format!("{name}: in expected.tsv, but there is no such sample")));
    assert!(problems.is_empty(), "{} of {} samples:\n{}", problems.len(), samples.len(), problems.join("\n"));
}

/// Audio goes by at full speed: the bytes alone must tell that these messages are no errors.
#[test]
fn success_is_not_parsed() {
    let profiles = compiled(|_| {});
    let samples: Vec<Sample> =
        samples().into_iter().filter(|sample| sample.name.contains("CONTROL-unparsed")).collect();
    assert!(samples.len() > 8, "only {} samples", samples.len());
    for sample in samples {
        for unit in &sample.units {
            let parsed = profiles[&sample.provider].may_be_error(unit.phase, &unit.raw);
            assert!(!parsed, "{}: its bytes say that it could be an error", sample.name);
        }
    }
}

#[test]
fn every_row_rule_and_detector_is_hit() {
    let profiles = compiled(|_| {});
    // Without `ignore` a control, too, tells which detector spoke.
    let audits = compiled(|detector| detector.ignore = false);
    let mut hit = BTreeSet::new();
    for sample in samples() {
        hit.extend(outcome(&profiles[&sample.provider], &sample).map(|outcome| outcome.matched));
        let detector = outcome(&audits[&sample.provider], &sample).and_then(|outcome| outcome.detector);
        hit.extend(detector.map(|detector| format!("{} errors[{detector}]", sample.provider)));
    }
    let mut missed = Vec::new();
    for (name, spec) in specs() {
        let mut all: Vec<String> = spec.codes.keys().map(|code| format!("{name} codes.{code}")).collect();
        for (space, table) in &spec.spaces {
            all.extend(table.keys().map(|code| format!("{name} spaces.{space}.{code}")));
        }
        all.extend((0..spec.rules.len()).map(|index| format!("{name} rules[{index}]")));
        all.extend((0..spec.errors.len()).map(|index| format!("{name} errors[{index}]")));
        missed.extend(all.into_iter().filter(|one| !hit.contains(one)));
    }
    assert!(missed.is_empty(), "{} without a sample:\n{}", missed.len(), missed.join("\n"));
}

/// A profile is only as good as what it lets pass. What stands in front of providers has no successes of its own.
#[test]
fn every_provider_has_failures_and_answers_that_look_like_some() {
    let truth = truth();
    for name in specs().keys().filter(|name| *name != "edge") {
        let prefix = format!("{name}/");
        let own = || truth.iter().filter(|(sample, _)| sample.starts_with(&prefix));
        let passing = own().filter(|(_, [kind, ..])| kind == "CONTROL").count();
        let failures = own().count() - passing;
        assert!(failures >= 8 && passing >= 2, "{name} has {failures} failures and {passing} answers that pass");
    }
}

/// `shapes.tsv`: what is known of the errors of further providers, judged by what each must mean. The generic profile sees them
/// for the first time, as it would see any provider without a profile. `*` is anything, `a|b` either.
#[test]
fn unknown_shapes_are_classified_by_their_content() {
    let profiles = compiled(|_| {});
    let text = read("tests/corpus/shapes.tsv");
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert!(lines.len() >= 150, "only {} shapes", lines.len());
    let wrong: Vec<String> = lines.iter().filter_map(|line| shape(&profiles["generic"], line).err()).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), lines.len(), wrong.join("\n"));
}

fn shape(profile: &Profile, line: &str) -> Result<(), String> {
    let cells: Vec<&str> = line.split('\t').collect();
    let [_, place, status, fields, body, expected @ ..] = cells.as_slice() else { panic!("too few cells: {line}") };
    let given = |text: &'static str, cell: &str| if cell == text { String::new() } else { cell.to_owned() };
    let body = given("-", body);
    let mut headers = HeaderMap::new();
    for field in given("-", fields).split(" | ").filter(|field| !field.is_empty()) {
        let (name, value) = field.split_once(": ").expect("a header field");
        let _ =
            headers.append(name.parse::<HeaderName>().expect("a name"), HeaderValue::from_str(value).expect("a value"));
    }
    let number = || status.parse::<u16>().expect("a status or a close code");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    let (event, data) =
        body.split_once('|').filter(|_| *place == "sse").map_or((None, &*body), |(event, data)| (Some(event), data));
    let seen = match *place {
        "http" => Observed::http(number(), &headers, body.as_bytes(), now),
        "handshake" => Observed::handshake(number(), &headers, body.as_bytes(), now),
        "sse" => Observed::event(event, data.as_bytes(), now),
        "ndjson" => Observed::line(body.as_bytes(), now),
        "frame" => Observed::frame(body.as_bytes(), now),
        "close" => Observed::close(number(), &body, now),
        other => panic!("{other} is no place"),
    };
    let evidence = Evidence::new(&seen);
    let classified = speechgate::canon::resolve(profile, &evidence);
    let error = classified.error;
    let upstream = error.upstream.as_ref().expect("a provider's word");
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let found = [
        error.code.kind().to_string(),
        if error.retryable { "yes" } else { "no" }.to_owned(),
        error.code.to_string(),
        or_none(&upstream.code),
        or_none(&upstream.request_id),
        error.retry_after.map_or("-".to_owned(), |wait| wait.as_secs_f64().to_string()),
    ];
    let fits = |(expected, found): (&&str, &String)| *expected == "*" || expected.split('|').any(|one| one == found);
    let all = expected.len() == found.len() && expected.iter().zip(&found).all(fits);
    if all { Ok(()) } else { Err(format!("{line}\n    found {} by {}", found.join(" "), matched(&classified.matched))) }
}

#[test]
fn every_documented_code_has_a_sample() {
    let truth = truth();
    let list = read("tests/corpus/seed-codes.tsv");
    let mut count = 0;
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let (provider, code) = line.split_once('\t').expect("provider, tab, code");
        let prefix = format!("{provider}/");
        let found = truth.iter().any(|(name, [.., upstream])| name.starts_with(&prefix) && upstream == code);
        assert!(found, "no sample of {provider} has the code {code}");
        count += 1;
    }
    assert!(count > 150, "the list of documented codes has shrunk to {count}");
}

fn envelope_problem(sample: &Sample, found: &str, bless: bool) -> Option<String> {
    let path = Path::new(ROOT).join("tests/corpus").join(format!("{}.json", sample.name));
    if bless {
        fs::write(&path, found).expect("write");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    (expected != found).then(|| format!("{} differs; found:\n{found}", path.display()))
}

/// Runs one sample; none when it passes untouched.
fn outcome(profile: &Profile, sample: &Sample) -> Option<Outcome> {
    sample.units.iter().find_map(|unit| {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        let request = sample.request.as_ref().map(|(method, path)| (method.as_str(), path.as_str()));
        let coded = match unit.phase {
            Phase::Frame => Coded::message(profile.codec(request), &unit.body),
            Phase::Sse => Coded::message(unit.codec, &unit.body),
            _ => Coded::body_of(&sample.headers, &unit.body),
        };
        let body = coded.body();
        let grpc = grpc::Status::read(&sample.headers).filter(|_| unit.phase == Phase::Grpc);
        let seen = match unit.phase {
            Phase::Http => Observed::http(sample.status?, &sample.headers, body, now),
            Phase::Handshake => Observed::handshake(sample.status?, &sample.headers, body, now),
            Phase::Job => Observed::job(sample.status?, &sample.headers, body, now),
            Phase::Sse => Observed::event(unit.event.as_deref().or(coded.name()), body, now),
            Phase::Ndjson => Observed::line(body, now),
            Phase::Frame => Observed::frame(body, now),
            Phase::Close => {
                let (code, reason) = unit.close.as_ref()?;
                Observed::close(*code, reason, now)
            }
            Phase::Abort => Observed::abort(now),
            Phase::Grpc => Observed::grpc(grpc.as_ref()?, &sample.headers, now),
        };
        let seen = coded.observed(seen);
        let evidence = Evidence::new(&seen);
        let classified = detected(profile, sample, unit, &evidence)?;
        let detector = classified.detector.map(|detector| detector.index);
        let (error, provider) = (&classified.error, Some(sample.provider.as_str()));
        let stamp = Stamp {
            request_id: "01KAQ8Z6M3W4E0J7T5YV9S2N1C",
            timestamp: "2026-11-21T09:30:00.123Z",
            provider,
            route: Some("corpus"),
            upstream_body: true,
            docs: None,
        };
        let answered = matches!(unit.phase, Phase::Http | Phase::Handshake);
        let envelope = match unit.phase {
            Phase::Job | Phase::Grpc => envelope::canonical(error, &stamp),
            _ if answered => envelope::canonical(error, &stamp),
            _ => envelope::event(error, &stamp, error.done),
        };
        let envelope: serde_json::Value = serde_json::from_slice(&envelope).expect("an envelope is JSON");
        explained(profile, sample, &evidence);
        let status = if answered { Some(error.code.status()) } else { sample.status };
        let upstream_code = error.upstream.as_ref().and_then(|upstream| upstream.code.clone());
        let retryable = if error.retryable { "yes" } else { "no" };
        Some(Outcome {
            meaning: [
                error.code.kind().to_string(),
                error.code.to_string(),
                status.map_or("-".to_owned(), |status| status.to_string()),
                retryable.to_owned(),
                upstream_code.unwrap_or_else(|| "-".to_owned()),
            ],
            envelope: format!("{envelope:#}\n"),
            matched: matched(&classified.matched),
            detector,
        })
    })
}

/// The provider's selector was marked as the one whose value was taken where the edge's code had decided.
fn explained(profile: &Profile, sample: &Sample, evidence: &Evidence<'_>) {
    let (classified, explanation) = explain(profile, evidence);
    let code = classified.error.upstream.and_then(|upstream| upstream.code);
    let mut taken = explanation.read.iter().filter(|read| read.field == "code" && read.taken);
    let (first, second) = (taken.next(), taken.next());
    assert_eq!(first.and_then(|read| read.value.clone()), code, "{}: {first:?}", sample.name);
    assert!(second.is_none(), "{}: {second:?}", sample.name);
}

/// What this means, asked as the gateway asks.
fn detected<'p>(profile: &'p Profile, sample: &Sample, unit: &Unit, evidence: &Evidence<'_>) -> Option<Detected<'p>> {
    let request = sample.request.as_ref().map(|(method, path)| (method.as_str(), path.as_str()));
    let detected = detect::detect(profile, request, evidence)?;
    let by_bytes = matches!(unit.phase, Phase::Sse | Phase::Ndjson | Phase::Frame | Phase::Job);
    let needle = !by_bytes || detect::suspects(profile, unit.phase, &unit.raw);
    assert!(needle, "{}: its bytes say that it is none", sample.name);
    let asked = unit.phase != Phase::Job || request.is_none_or(|(method, path)| profile.hides_failures(method, path));
    assert!(asked, "{}: nobody asks this path", sample.name);
    Some(detected)
}

fn matched(matched: &Matched<'_>) -> String {
    match matched {
        Matched::Rule(profile, index) => format!("{profile} rules[{index}]"),
        Matched::Code(profile, "", code) => format!("{profile} codes.{code}"),
        Matched::Code(profile, space, code) => format!("{profile} spaces.{space}.{code}"),
        other => format!("{other:?}"),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn truth() -> BTreeMap<String, Meaning> {
    let mut truth = BTreeMap::new();
    for line in read("tests/corpus/expected.tsv").lines().skip(1) {
        let (name, cells) = line.split_once('\t').expect("cells");
        let cells: Vec<String> = cells.split('\t').map(str::to_owned).collect();
        let meaning = cells.try_into().unwrap_or_else(|_| panic!("six cells: {line}"));
        assert!(truth.insert(name.to_owned(), meaning).is_none(), "{name} stands twice in expected.tsv");
    }
    truth
}

/// Every file of `config/providers`, as it is written.
fn specs() -> BTreeMap<String, ProfileSpec> {
    let files = fs::read_dir(Path::new(ROOT).join("config/providers")).expect("config/providers");
    let spec = |path: PathBuf| {
        let name = path.file_stem().expect("stem").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("profile");
        let spec = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, spec)
    };
    files.map(|entry| spec(entry.expect("entry").path())).collect()
}

/// The profiles, each with what it falls back to.
fn compiled(change: impl Fn(&mut DetectorSpec)) -> BTreeMap<String, Profile> {
    let mut specs = specs();
    specs.values_mut().flat_map(|spec| &mut spec.errors).for_each(change);
    let compile = |name: &str, spec: &ProfileSpec| {
        Profile::compile(name, spec.clone()).unwrap_or_else(|problems| panic!("{name}: {problems:#?}"))
    };
    let fallback = Fallback { edge: compile("edge", &specs["edge"]), generic: compile("generic", &specs["generic"]) };
    let fallback = Arc::new(fallback);
    // What stands in front of a provider is seen through one that says nothing itself.
    let silent = ProfileSpec::default();
    let own = |name: &str| if name == "edge" { &silent } else { &specs[name] };
    specs.keys().map(|name| (name.clone(), compile(name, own(name)).with_fallback(fallback.clone()))).collect()
}

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
use speechgate::canon::{Codec, Evidence, Fallback, Matched, Observed, Phase, Profile, ProfileSpec};
use speechgate::config::built_in;
use speechgate::detect::{self, Coded, Detected, Form, Framing};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[path = "corpus/streams.rs"]
mod streams;
#[path = "corpus/weights.rs"]
mod weights;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// One sample, taken apart.
struct Sample {
    /// `provider/name.ext`
    name: String,
    provider: String,
    request: Option<(String, String)>,
    status: Option<u16>,
    headers: HeaderMap,
    /// What may be the error, in order: one body, or every event or line.
    units: Vec<Unit>,
}

/// One body, event, line, message or close.
struct Unit {
    phase: Phase,
    /// What the relay sees: an event with its field lines.
    raw: Vec<u8>,
    body: Vec<u8>,
    event: Option<String>,
    close: Option<(u16, String)>,
    /// What it is coded in, where its stream says so.
    codec: Option<Codec>,
}

impl Unit {
    fn new(phase: Phase, body: &[u8]) -> Unit {
        Unit { phase, raw: body.to_vec(), body: body.to_vec(), event: None, close: None, codec: None }
    }
}

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
fn shapes_that_no_profile_knows_mean_what_they_say() {
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

fn samples() -> Vec<Sample> {
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in fs::read_dir(Path::new(ROOT).join("tests/corpus")).expect("tests/corpus") {
        let folder = folder.expect("folder").path();
        if folder.is_dir() {
            files.extend(fs::read_dir(&folder).expect("samples").map(|entry| entry.expect("entry").path()));
        }
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension != "json"));
    files.sort();
    assert!(files.len() > 400, "only {} samples", files.len());
    files.iter().map(|file| sample(file)).collect()
}

fn sample(file: &Path) -> Sample {
    let provider = file.parent().and_then(Path::file_name).expect("folder").to_string_lossy().into_owned();
    let name = format!("{provider}/{}", file.file_name().expect("name").to_string_lossy());
    let bytes = fs::read(file).expect("sample");
    let mut sample =
        Sample { name, provider, request: None, status: None, headers: HeaderMap::new(), units: Vec::new() };
    sample.units = match file.extension().and_then(|extension| extension.to_str()) {
        Some("http") => http_units(&bytes, &mut sample),
        Some("sse") => events(&bytes),
        Some("ndjson") => lines(&bytes),
        Some("bin") => vec![Unit::new(Phase::Frame, &bytes)],
        Some("ws") => vec![Unit::new(Phase::Frame, bytes.trim_ascii_end())],
        Some("close") => {
            let text = String::from_utf8(bytes).expect("UTF-8");
            let (code, reason) = text.trim_end().split_once(' ').unwrap_or((text.trim_end(), ""));
            let close = (code.parse().expect("close code"), reason.to_owned());
            vec![Unit { close: Some(close), ..Unit::new(Phase::Close, b"") }]
        }
        Some("grpc") => {
            for line in String::from_utf8(bytes).expect("UTF-8").lines() {
                let (name, value) = line.split_once(':').expect("a trailer");
                let _ = sample.headers.append(
                    name.parse::<HeaderName>().expect("a name"),
                    HeaderValue::from_str(value.trim()).expect("a value"),
                );
            }
            vec![Unit::new(Phase::Grpc, b"")]
        }
        other => panic!("{}: {other:?} is no kind of sample", sample.name),
    };
    sample
}

fn http_units(bytes: &[u8], sample: &mut Sample) -> Vec<Unit> {
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an empty line behind the head");
    let (head, body) = (std::str::from_utf8(&bytes[..at]).expect("UTF-8"), &bytes[at + 4..]);
    let mut phase = Phase::Http;
    for line in head.split("\r\n") {
        if let Some(asked) = line.strip_prefix("> ") {
            let mut words = asked.split(' ').map(str::to_owned);
            sample.request = words.next().zip(words.next());
            if words.next().is_some() {
                phase = Phase::Handshake;
            }
        } else if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
            sample.status = Some(rest[..3].parse().expect("status"));
        } else {
            let (name, value) = line.split_once(':').expect("a header field");
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a field name");
            let _ = sample.headers.append(name, HeaderValue::from_str(value.trim()).expect("a field value"));
        }
    }
    let field = |name: &str| sample.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!(field("content-length"), body.len().to_string(), "{}: content-length", sample.name);
    let profile = built_in(&sample.provider).expect("a built-in profile").expect("a valid profile");
    let request = sample.request.as_ref().map(|(method, path)| (method.as_str(), path.as_str()));
    let form = Form::of(&profile, request, sample.status.expect("a status line"), &sample.headers);
    sample.units = match form {
        Form::Error => vec![Unit::new(phase, body)],
        Form::Stream(Framing::Ndjson) => lines(body),
        Form::Stream(Framing::Sse) => events(body),
        Form::Stream(Framing::EventStream) => messages(body),
        Form::Inspected | Form::Plain | Form::Empty => vec![Unit::new(Phase::Job, body)],
    };
    let cut = streams::cut(&profile, sample);
    sample.units.drain(..).chain(cut).collect()
}

/// One event or line, as a stream's judge sees it.
fn read_event(unit: &Unit) -> Observed<'_> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    match unit.phase {
        Phase::Ndjson => Observed::line(&unit.body, now),
        _ => Observed::event(unit.event.as_deref(), &unit.body, now),
    }
}

fn lines(bytes: &[u8]) -> Vec<Unit> {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    lines.map(|line| Unit::new(Phase::Ndjson, line)).collect()
}

fn messages(mut bytes: &[u8]) -> Vec<Unit> {
    let mut units = Vec::new();
    while let Some(length) = bytes.first_chunk::<4>() {
        let (message, rest) = bytes.split_at(u32::from_be_bytes(*length) as usize);
        units.push(Unit { codec: Some(Codec::EventStream), ..Unit::new(Phase::Sse, message) });
        bytes = rest;
    }
    units
}

fn events(bytes: &[u8]) -> Vec<Unit> {
    let text = String::from_utf8(bytes.to_vec()).expect("UTF-8").replace("\r\n", "\n");
    let mut blocks: Vec<&str> = text.split("\n\n").collect();
    let rest = blocks.pop().filter(|rest| !rest.trim().is_empty());
    let event = |block: &str| {
        let field = |name: &str| {
            let values = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            values.map(|value| value.strip_prefix(' ').unwrap_or(value).to_owned()).collect::<Vec<_>>()
        };
        let (raw, data) = (block.as_bytes().to_vec(), field("data").join("\n"));
        Unit { raw, event: field("event").pop(), ..Unit::new(Phase::Sse, data.as_bytes()) }
    };
    // Half a failure at the end is a stream that broke; anything else passes as it is.
    let rest = rest.map(event).map(|last| if detect::is_cut(&last.body) { Unit::new(Phase::Abort, b"") } else { last });
    blocks.into_iter().map(event).chain(rest).collect()
}

//! Evidence against evidence: every recorded failure again, on statuses that say something else, and everything that stands in
//! front of providers, in front of each of them.

use super::{Outcome, compiled, outcome, samples, specs, truth};
use speechgate::canon::spec::{MappingSpec, Scalar};
use speechgate::canon::{Code, Evidence, Observed, Phase, ProfileSpec, Type, resolve};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// Whether a failure that means this cannot be what the status says. Independent of what the gateway thinks, and coarser.
fn clash(kind: Type, status: u16) -> bool {
    use Type::{
        Authentication, Cancelled, ConcurrencyLimited, Conflict, Internal, InvalidRequest, NotFound, NotReady,
        PaymentRequired, PermissionDenied, RateLimited, Timeout, Unavailable, Upstream,
    };
    let fits: &[Type] = match status {
        400 => &[
            InvalidRequest,
            Authentication,
            PaymentRequired,
            PermissionDenied,
            NotFound,
            Conflict,
            NotReady,
            RateLimited,
            ConcurrencyLimited,
        ],
        401 => &[Authentication, PermissionDenied, PaymentRequired],
        403 => &[Authentication, PermissionDenied, PaymentRequired, NotFound, RateLimited, ConcurrencyLimited],
        404 => &[NotFound, InvalidRequest, NotReady],
        429 => &[RateLimited, ConcurrencyLimited, PaymentRequired, Unavailable],
        500 | 502 => &[Internal, Upstream, Unavailable, Timeout],
        503 => &[Internal, Upstream, Unavailable, Timeout, RateLimited, ConcurrencyLimited],
        _ => &[Cancelled],
    };
    !fits.contains(&kind)
}

/// Whether a profile knows better than the status: by a code that it knows by name and that says more than a status does, or
/// because it names this very status.
fn knows_better(specs: &BTreeMap<String, ProfileSpec>, outcome: &Outcome) -> bool {
    let [kind, code, _, _, upstream] = &outcome.meaning;
    // Servers that fail for want of money say so in a code, if anywhere.
    let is_payment = kind == "payment_required";
    let (profile, place) = outcome.matched.split_once(' ').unwrap_or_default();
    let Some(spec) = specs.get(profile) else { return outcome.matched.starts_with("Word") && is_payment };
    let despite = |mapping: &MappingSpec| matches!(mapping, MappingSpec::Full(full) if full.despite_status);
    let rows = || spec.codes.iter().chain(spec.spaces.values().flat_map(|space| space.iter()));
    let named_despite = rows().any(|(code, mapping)| code == upstream && despite(mapping));
    if let Some(rest) = place.strip_prefix("rules[") {
        let rule = &spec.rules[rest.trim_end_matches(']').parse::<usize>().expect("a place")];
        let whole = |code: &Scalar| !format!("{code:?}").contains('*');
        let names_code = rule.code.as_ref().is_some_and(|codes| codes.to_vec().iter().any(whole));
        return rule.status.is_some() || names_code || named_despite || is_payment && rule.message.is_none();
    }
    named_despite || !GENERAL.contains(&code.as_str())
}

/// Meanings that say no more than a status does.
const GENERAL: [&str; 5] =
    ["invalid_request", "invalid_parameter", "missing_parameter", "internal_error", "unknown_error"];

#[test]
fn no_text_and_no_general_code_beats_a_status_that_says_otherwise() {
    let (profiles, specs) = (compiled(|_| {}), specs());
    let (mut tried, mut wrong) = (0, Vec::new());
    for mut sample in samples() {
        if sample.units.iter().any(|unit| !matches!(unit.phase, Phase::Http | Phase::Handshake)) {
            continue;
        }
        for status in [400, 401, 403, 404, 429, 500, 502, 503] {
            let was = sample.status.replace(status);
            if was == Some(status) {
                continue;
            }
            tried += 1;
            let Some(outcome) = outcome(&profiles[&sample.provider], &sample) else { continue };
            let code = &outcome.meaning[1];
            let kind = Code::from_name(code).expect(code).kind();
            if clash(kind, status) && !knows_better(&specs, &outcome) {
                wrong.push(format!("{} on {status}: {code} by {}", sample.name, outcome.matched));
            }
            sample.status = was;
        }
    }
    assert!(tried > 5000, "only {tried}");
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn edge_errors_mean_the_same_for_every_provider() {
    let (profiles, truth) = (compiled(|_| {}), truth());
    let (mut tried, mut wrong) = (0, Vec::new());
    for sample in samples().iter().filter(|sample| sample.provider == "edge") {
        for (name, profile) in &profiles {
            tried += 1;
            let found = outcome(profile, sample).map(|outcome| (outcome.meaning, outcome.matched));
            let expected = &truth[&sample.name];
            match found {
                Some((meaning, _)) if meaning == *expected => {}
                Some((meaning, matched)) => wrong.push(format!(
                    "{} in front of {name}: {} by {matched}, expected {}",
                    sample.name,
                    meaning.join(" "),
                    expected.join(" ")
                )),
                None => wrong.push(format!("{} in front of {name}: nothing", sample.name)),
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
}

/// A provider closes with a word of its table: alone, or before a sentence.
#[test]
fn a_code_at_the_beginning_of_a_reason_is_the_providers() {
    let (profiles, specs) = (compiled(|_| {}), specs());
    let (mut tried, mut wrong) = (0, Vec::new());
    for (name, spec) in specs.iter().filter(|(_, spec)| spec.errors.iter().any(|one| one.phase == Phase::Close)) {
        for (code, mapping) in spec.codes.iter().filter(|(code, _)| code.bytes().any(|byte| byte.is_ascii_alphabetic()))
        {
            for reason in [code.clone(), format!("{code}: The words behind it.")] {
                let now = SystemTime::UNIX_EPOCH;
                let seen = Observed::close(4999, &reason, now);
                let error = resolve(&profiles[name], &Evidence::new(&seen)).error;
                tried += 1;
                if error.code.as_str() != mapping.code() {
                    wrong.push(format!("{name} {reason}: {}, expected {}", error.code, mapping.code()));
                }
            }
        }
    }
    assert!(tried > 500, "only {tried}");
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
}

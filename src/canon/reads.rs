//! What each selector of a profile reads out of an observation, for people who write profiles.

use super::evidence::Evidence;
use super::fields::Fields;
use super::profile::Profile;
use super::selectors::Selectors;
use super::spec::{ProfileSpec, SelectorSpec};

/// One selector, and what it found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// What it looks for, in the words of the profile.
    pub field: String,
    /// The profile in which it is written: this one, one that it builds on, `edge` or `generic`.
    pub profile: String,
    /// Its place in that profile's list.
    pub index: usize,
    /// As it is written, without a condition or an expression.
    pub selector: String,
    /// What it found.
    pub value: Option<String>,
    /// Whether this is the value of the field: the first that was found.
    pub taken: bool,
}

/// A field: its name, and where its selectors are, compiled and as written.
type Field = (&'static str, fn(&Fields) -> &Selectors, fn(&ProfileSpec) -> &[SelectorSpec]);

/// Fields that the edge's and the generic profile have as well.
const SHARED: [Field; 9] = [
    ("code", |fields| &fields.code, |spec| &spec.code),
    ("type", |fields| &fields.kind, |spec| &spec.kind),
    ("title", |fields| &fields.title, |spec| &spec.title),
    ("message", |fields| &fields.message, |spec| &spec.message),
    ("request_id", |fields| &fields.request_id, |spec| &spec.request_id),
    ("param", |fields| &fields.param, |spec| &spec.param),
    ("doc_url", |fields| &fields.doc_url, |spec| &spec.doc_url),
    ("retry_after", |fields| &fields.retry_after, |spec| &spec.retry_after),
    ("retryable", |fields| &fields.retryable, |spec| &spec.retryable),
];

/// Fields that only the provider's own profile has.
const OWN: [Field; 4] = [
    ("status", |fields| &fields.status, |spec| &spec.status),
    ("close", |fields| &fields.close, |spec| &spec.close),
    ("context_id", |fields| &fields.context_id, |spec| &spec.context_id),
    ("done", |fields| &fields.done, |spec| &spec.done),
];

/// What every selector read, field by field in the order in which they are asked.
#[must_use]
pub fn reads(profile: &Profile, evidence: &Evidence<'_>) -> Vec<Read> {
    let fallback = profile.fallback.as_deref();
    let shared: Vec<&Profile> = [Some(profile), fallback.map(|all| &all.edge), fallback.map(|all| &all.generic)]
        .into_iter()
        .flatten()
        .collect();
    let mut all = Vec::new();
    for field in &SHARED {
        add(field, &shared, evidence, &mut all);
    }
    for field in &OWN {
        add(field, &[profile], evidence, &mut all);
    }
    for (name, selectors) in &profile.fields.details {
        let specs = |spec: &ProfileSpec| spec.details.get(name).map_or(0, |list| list.as_slice().len());
        let written = profile.spec().details.get(name).map(|list| list.as_slice()).unwrap_or_default();
        let mut taken = false;
        for ((index, selector), spec) in selectors.iter().zip(written) {
            let value = selector.json(evidence).map(|value| match value.as_str() {
                Some(text) => text.to_owned(),
                None => value.to_string(),
            });
            // Of a table, the row of the uppermost profile that has one.
            let (profile, index) = profile.row_of(&|spec| specs(spec) > 0, index);
            all.push(read(&format!("details.{name}"), profile, index, spec, value, &mut taken));
        }
    }
    all
}

fn add(field: &Field, profiles: &[&Profile], evidence: &Evidence<'_>, all: &mut Vec<Read>) {
    let (name, compiled, written) = field;
    let mut taken = false;
    for profile in profiles {
        let specs = written(profile.spec());
        for ((index, selector), spec) in compiled(&profile.fields).iter().zip(specs) {
            let value = selector.text(evidence).map(std::borrow::Cow::into_owned);
            let (profile, index) = profile.part_of(&|spec| written(spec).len(), index);
            all.push(read(name, profile, index, spec, value, &mut taken));
        }
        // A close's reason may begin with a code of the table, which needs no selector.
        if *name == "code"
            && let Some((code, _)) = profile.code_in_reason(evidence)
        {
            let spec = SelectorSpec::Place("ws.reason".to_owned());
            all.push(read(name, profile.name(), specs.len(), &spec, Some(code.into_owned()), &mut taken));
        }
    }
}

fn read(
    field: &str,
    profile: &str,
    index: usize,
    spec: &SelectorSpec,
    value: Option<String>,
    taken: &mut bool,
) -> Read {
    let first = value.is_some() && !std::mem::replace(taken, *taken || value.is_some());
    Read {
        field: field.to_owned(),
        profile: profile.to_owned(),
        index,
        selector: match spec {
            SelectorSpec::Place(place) => place.clone(),
            SelectorSpec::Full(full) => full.from.clone(),
        },
        value,
        taken: first,
    }
}

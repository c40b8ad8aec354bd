//! The error reference: for each code its facts, and what maps to it. All of it is read off the code table, the faults and the
//! profiles, so that the documentation cannot contradict the program.

use super::code::{Code, Row};
use super::fault::Fault;
use super::grpc;
use super::profile::Profile;
use super::spec::{ConditionSpec, MappingSpec, OneOrMany, Phase, RuleSpec, Scalar, StatusSpec, Table};

/// A code and what maps to it.
#[derive(Debug)]
pub struct Entry {
    /// The code's facts.
    pub row: &'static Row,
    /// What providers say, in the order in which they were given; those that never say it are left out.
    pub said: Vec<Said>,
    /// The faults that cause it without an error from the provider.
    pub faults: Vec<Fault>,
}

/// How one provider says it.
#[derive(Debug)]
pub struct Said {
    /// The provider.
    pub provider: String,
    /// Its own codes.
    pub codes: Vec<String>,
    /// Further conditions, in words; what stands between backticks is as it is written.
    pub rules: Vec<String>,
}

impl Said {
    /// Codes and conditions in one line.
    #[must_use]
    pub fn words(&self) -> String {
        let codes: Vec<String> = self.codes.iter().map(|code| ticked(code)).collect();
        let codes = Some(codes.join(", ")).filter(|codes| !codes.is_empty());
        codes.into_iter().chain(self.rules.iter().cloned()).collect::<Vec<_>>().join("; ")
    }
}

/// Every code, in the order of the table, with what these profiles make of it.
#[must_use]
pub fn entries<'p>(profiles: impl IntoIterator<Item = &'p Profile> + Clone) -> Vec<Entry> {
    let entry = |row: &'static Row| Entry {
        row,
        said: profiles.clone().into_iter().filter_map(|profile| said(profile, row.code)).collect(),
        faults: Fault::ALL.iter().copied().filter(|fault| fault.code() == row.code).collect(),
    };
    Code::ROWS.iter().map(entry).collect()
}

fn said(profile: &Profile, code: Code) -> Option<Said> {
    let spec = profile.spec();
    let means = |mapping: &MappingSpec| mapping.code() == code.as_str();
    let meant = |table: &Table<MappingSpec>, space: &str| -> Vec<String> {
        let rows = table.iter().filter(|(_, mapping)| means(mapping));
        rows.map(|(own, _)| if space.is_empty() { own.clone() } else { format!("{space} {own}") }).collect()
    };
    let mut codes = meant(&spec.codes, "");
    codes.extend(spec.spaces.iter().flat_map(|(space, table)| meant(table, space)));
    let rules: Vec<String> = spec.rules.iter().filter(|rule| means(&rule.then)).map(conditions).collect();
    let anything = !codes.is_empty() || !rules.is_empty();
    anything.then(|| Said { provider: profile.name().to_owned(), codes, rules })
}

/// What has to hold for a rule.
fn conditions(rule: &RuleSpec) -> String {
    let mut parts = Vec::new();
    if let Some(codes) = &rule.code {
        parts.push(either(codes, |code| match scalar(code).as_str() {
            "*" => "any code or none".to_owned(),
            code => ticked(code),
        }));
    }
    if let Some(statuses) = &rule.status {
        let shown = either(statuses, |status| match status {
            StatusSpec::Exact(status) => status.to_string(),
            StatusSpec::Class(class) => class.clone(),
        });
        parts.push(format!("status {shown}"));
    }
    if let Some(phases) = &rule.phase {
        parts.push(format!("in {}", either(phases, |phase| phase_name(*phase).to_owned())));
    }
    if let Some(closes) = &rule.close {
        parts.push(format!("close {}", either(closes, u16::to_string)));
    }
    parts.extend(
        rule.when.iter().map(|(selector, condition)| format!("{} {}", ticked(selector), conditioned(condition))),
    );
    if let Some(pattern) = &rule.message {
        parts.push(format!("a message that matches {}", ticked(pattern)));
    }
    if parts.is_empty() { "anything else".to_owned() } else { parts.join(", ") }
}

fn conditioned(condition: &ConditionSpec) -> String {
    let one_of = |values: &[Scalar]| values.iter().map(|value| ticked(&scalar(value))).collect::<Vec<_>>().join(" or ");
    match condition {
        ConditionSpec::Is(value) => format!("is {}", ticked(&scalar(value))),
        ConditionSpec::In(values) => format!("is {}", one_of(values)),
        ConditionSpec::Test(test) => {
            let exists = test.exists.map(|exists| if exists { "is there" } else { "is missing" }.to_owned());
            let not = test.not.as_ref().map(|not| format!("is not {}", one_of(not.as_slice())));
            let matches = test.matches.as_ref().map(|pattern| format!("matches {}", ticked(pattern)));
            [exists, not, matches].into_iter().flatten().collect::<Vec<_>>().join(" and ")
        }
    }
}

fn either<T>(values: &OneOrMany<T>, shown: impl Fn(&T) -> String) -> String {
    values.as_slice().iter().map(shown).collect::<Vec<_>>().join(" or ")
}

/// Wraps a text in backticks and removes those inside it.
fn ticked(text: &str) -> String {
    format!("`{}`", text.replace('`', "'"))
}

fn scalar(value: &Scalar) -> String {
    match value {
        Scalar::Bool(value) => value.to_string(),
        Scalar::Int(value) => value.to_string(),
        Scalar::Float(value) => value.to_string(),
        Scalar::Text(text) => text.clone(),
    }
}

const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Handshake => "a refused WebSocket handshake",
        Phase::Http => "an answer",
        Phase::Sse => "an event",
        Phase::Ndjson => "a line",
        Phase::Frame => "a message",
        Phase::Close => "a close",
        Phase::Abort => "an end without a close",
        Phase::Job => "a polled job",
        Phase::Grpc => "a gRPC status",
    }
}

/// The reference as Markdown. Each code is a heading, so that it is a link's target.
#[must_use]
pub fn markdown(entries: &[Entry]) -> String {
    let mut text = String::from(
        "# Errors\n\nEvery code of speechgate: what it means, what to do, and what maps to it. `speechgate codes --format markdown` \
         prints this page;\nthe admin listener serves it at `/errors`. Branch on the code where you know it and on its type where you do not.\n",
    );
    for entry in entries {
        text.push_str(&section(entry));
    }
    text
}

fn section(entry: &Entry) -> String {
    let row = entry.row;
    let retry = if row.retryable { "retryable" } else { "not retryable" };
    let mut text = format!(
        "\n## {}\n\n{} **{}**\n\nType `{}` · status {} · close {} · gRPC {} · {retry}\n",
        row.name,
        row.sentence,
        row.advice,
        row.kind,
        row.status,
        row.close,
        grpc::name(row.grpc.into())
    );
    if !entry.said.is_empty() || !entry.faults.is_empty() {
        text.push('\n');
    }
    for said in &entry.said {
        text.push_str(&format!("* {}: {}\n", said.provider, said.words()));
    }
    for fault in &entry.faults {
        text.push_str(&format!("* {}: {}\n", fault.origin().as_str(), fault.sentence()));
    }
    text
}

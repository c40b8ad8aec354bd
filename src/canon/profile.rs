//! A compiled provider profile: detectors, fields, code tables, ordered rules.
//!
//! The input was read from TOML (`spec`). Every problem is reported at once, including rules that can
//! never match.

use super::clients::Client;
use super::codec::{Codec, CodedSockets};
use super::codes::{CodeTable, Codes, Known};
use super::condition::Written;
use super::cost::{self, Counting, TextPath};
use super::detectors::{self, Detector, Needles};
use super::evidence::Evidence;
use super::fields::Fields;
use super::generations::GenerationRule;
use super::heuristics;
use super::liveness::Sockets;
use super::mapping::Mapping;
use super::openings::Openings;
use super::path::Path;
use super::problems::{Problems, ProfileProblem};
use super::redial::RedialRule;
use super::rewrites::Rewrites;
use super::rule::Rule;
use super::spec::{ConcurrencyUnit, MappingSpec, Phase, ProfileSpec, SelectorSpec, Table};
use super::streams::Stream;
use http::header::{HeaderMap, HeaderName};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A provider's compiled profile.
#[derive(Debug)]
pub struct Profile {
    name: String,
    spec: ProfileSpec,
    pub(crate) fallback: Option<Arc<Fallback>>,
    detectors: Vec<Detector>,
    /// One filter for each phase that has detectors.
    needles: Vec<(Phase, Needles)>,
    pub(crate) fields: Fields,
    pub(crate) codes: Codes,
    /// Rules that name a whole code or `*`: evaluated before the code table.
    pub(crate) early_rules: Vec<Rule>,
    /// The other rules: evaluated after it.
    pub(crate) late_rules: Vec<Rule>,
    pub(crate) native: super::native::Native,
    rewrites: Rewrites,
    /// The sockets on which clients may show their key in the first message.
    pub openings: Openings,
    texts: Vec<TextPath>,
    generations: Vec<Arc<GenerationRule>>,
    streams: Vec<Arc<Stream>>,
    clients: Vec<Client>,
    coded: Vec<CodedSockets>,
    sockets: Sockets,
}

/// What every profile falls back to: the edge in front of providers, and the shapes common to all APIs.
#[derive(Debug)]
pub struct Fallback {
    /// Proxies, load balancers and content delivery networks.
    pub edge: Profile,
    /// The common shapes.
    pub generic: Profile,
}

impl Profile {
    /// Compiles a profile; `spec` has its bases merged in already.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn compile(name: &str, spec: ProfileSpec) -> Result<Profile, Vec<ProfileProblem>> {
        let mut problems = Problems(Vec::new());
        let fields = Fields::compile(&spec, &mut problems);
        let detectors = detectors::compile(&spec.errors, &mut problems);
        let codes = compile_codes("codes", &spec.codes, &mut problems);
        let mut spaces: HashMap<Box<str>, CodeTable> = spec
            .spaces
            .iter()
            .map(|(space, table)| {
                (Box::from(space.as_str()), compile_codes(&format!("spaces.{space}"), table, &mut problems))
            })
            .collect();
        check_spaces(&spec, &mut problems);
        let _ = spaces.entry(GRPC.into()).or_insert_with(|| CodeTable::new(grpc_rows()));
        let codes = Codes::new(codes, spaces, &fields.code);
        let (mut early_rules, mut late_rules) = compile_rules(&spec, &mut problems);
        early_rules.iter_mut().chain(&mut late_rules).for_each(|rule| rule.settle(&codes));
        let (rewrites, openings) = (Rewrites::compile(&spec, &mut problems), Openings::compile(&spec, &mut problems));
        let texts = compile_texts(&spec.cost.text, &mut problems);
        let native = super::native::Native::compile(&spec.native, &spec.codes, &mut |path, problem| {
            problems.add(path, problem);
        });
        let generations = spec.generations.iter().enumerate().map(|(index, rule)| {
            let at = format!("generations[{index}]");
            let add = &mut |path, problem| problems.add(path, problem);
            Arc::new(GenerationRule::compile(&at, rule, &spec.cost, add))
        });
        let generations = generations.collect();
        let streams = spec.streams.iter().enumerate().map(|(index, stream)| {
            let at = format!("streams[{index}]");
            Arc::new(Stream::compile(&at, stream, &mut |path, problem| problems.add(path, problem)))
        });
        let streams = streams.collect();
        let clients = spec.clients.iter().enumerate().map(|(index, client)| {
            Client::compile(&format!("clients[{index}]"), client, &mut |path, problem| problems.add(path, problem))
        });
        let clients = clients.collect();
        let coded = spec.codecs.iter().enumerate().map(|(index, sockets)| {
            let at = format!("codecs[{index}]");
            CodedSockets::compile(&at, sockets, &mut |path, problem| problems.add(path, problem))
        });
        let coded: Vec<CodedSockets> = coded.collect();
        let add = &mut |path, problem| problems.add(path, problem);
        let sockets = Sockets::compile(&spec.websocket, add);
        if !problems.0.is_empty() {
            return Err(problems.0);
        }
        let needles = detectors::needles(&detectors, Written::by(&coded));
        let name = name.to_owned();
        let fallback = None;
        Ok(Profile {
            name,
            spec,
            fallback,
            detectors,
            needles,
            fields,
            codes,
            early_rules,
            late_rules,
            native,
            rewrites,
            openings,
            texts,
            generations,
            streams,
            clients,
            coded,
            sockets,
        })
    }

    /// Sets the profiles that are consulted after this one.
    #[must_use]
    pub fn with_fallback(mut self, fallback: Arc<Fallback>) -> Profile {
        self.fallback = Some(fallback);
        self
    }

    /// The provider's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The profile as it was written, bases merged in.
    #[must_use]
    pub fn spec(&self) -> &ProfileSpec {
        &self.spec
    }

    /// Whether the bytes of a message could be an error: a byte test, so that nothing else is ever parsed.
    #[must_use]
    pub fn may_be_error(&self, phase: Phase, bytes: &[u8]) -> bool {
        self.needles.iter().any(|(of, needles)| *of == phase && needles.may_match(bytes))
    }

    /// Whether answers to this request may hide a failure in a 2xx body.
    #[must_use]
    pub fn hides_failures(&self, method: &str, path: &str) -> bool {
        self.detectors
            .iter()
            .any(|detector| detector.phase == Phase::Job && !detector.ignore && detector.covers(method, path))
    }

    /// Whether answers to this request are newline-separated JSON, whatever they call themselves.
    #[must_use]
    pub fn streams_lines(&self, method: &str, path: &str) -> bool {
        self.detectors.iter().any(|detector| {
            detector.phase == Phase::Ndjson && !detector.paths.is_empty() && detector.covers(method, path)
        })
    }

    /// The members of a success body that hold URLs of the provider.
    #[must_use]
    pub fn rewrites(&self, method: &str, path: &str) -> Option<&[Path]> {
        self.rewrites.of(method, path)
    }

    /// The stream with a known last event that answers this request, if it is one.
    #[must_use]
    pub fn stream(&self, phase: Phase, method: &str, path: &str) -> Option<&Arc<Stream>> {
        self.streams.iter().find(|stream| stream.covers(phase, method, path))
    }

    /// Whether a request with these header fields and this query comes from a client that reads the provider's own errors: an SDK, or
    /// a plugin.
    #[must_use]
    pub fn knows_client(&self, headers: &HeaderMap, query: Option<&str>) -> bool {
        let own = self.clients.iter();
        let any = self.fallback.iter().flat_map(|fallback| &fallback.generic.clients);
        own.chain(any).any(|client| client.fits(headers, query))
    }

    /// The header fields by which clients are told apart, as `Vary` lists them.
    #[must_use]
    pub fn client_fields(&self) -> String {
        let any = self.fallback.iter().flat_map(|fallback| &fallback.generic.clients);
        let fields = self.clients.iter().chain(any).flat_map(Client::fields).map(HeaderName::as_str);
        fields.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
    }

    /// The codec of the messages on a socket that this request opens; none where they are bare JSON.
    #[must_use]
    pub fn codec(&self, request: Option<(&str, &str)>) -> Option<Codec> {
        self.coded.iter().find(|sockets| sockets.cover(request)).map(|sockets| sockets.codec)
    }

    /// Whether the profile says where the text of a request is.
    #[must_use]
    pub fn knows_texts(&self) -> bool {
        !self.texts.is_empty()
    }

    /// The profile that an entry of a merged list comes from, and its index there.
    pub(crate) fn part_of(&self, length: &dyn Fn(&ProfileSpec) -> usize, mut index: usize) -> (&str, usize) {
        for (name, part) in &self.spec.parts {
            match index.checked_sub(length(part)) {
                Some(rest) => index = rest,
                None => return (name, index),
            }
        }
        (&self.name, index)
    }

    /// The same for a row of a table; the topmost profile that has it wins.
    pub(crate) fn row_of(&self, has: &dyn Fn(&ProfileSpec) -> bool, index: usize) -> (&str, usize) {
        let part = self.spec.parts.iter().find(|(_, part)| has(part));
        (part.map_or(&self.name, |(name, _)| name), index)
    }

    /// How many characters of text a request body has.
    #[must_use]
    pub fn characters(&self, body: &super::json::Json<'_>) -> u64 {
        cost::text(&self.texts, Counting::of(&self.spec.cost), body).characters
    }

    /// The generations that this request is, or that begin on the socket that it opens.
    #[must_use]
    pub fn generations(&self, method: &str, path: &str) -> Option<&Arc<GenerationRule>> {
        self.generations.iter().find(|rule| rule.covers(method, path))
    }

    /// Whether the profile says of any request what its generations are.
    #[must_use]
    pub fn knows_generations(&self) -> bool {
        !self.generations.is_empty()
    }

    /// Those on a socket opened by this request that take slots; none where the socket counts as a whole.
    #[must_use]
    pub fn slots_inside(&self, method: &str, path: &str) -> Option<&Arc<GenerationRule>> {
        let unit = self.spec.concurrency.unit;
        let inside = matches!(unit, Some(ConcurrencyUnit::Context | ConcurrencyUnit::Generation));
        self.generations(method, path).filter(|rule| inside && rule.takes_slots())
    }

    /// Whether the provider charges for generations that fail or stay silent.
    #[must_use]
    pub fn charges_failed(&self) -> bool {
        self.spec.cost.failed.unwrap_or_default()
    }

    /// What its sockets do while nothing is said.
    #[must_use]
    pub fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// How the socket that this request opens is dialled again between its generations; none where the profile does not say, or where
    /// nobody could tell whether one is open.
    #[must_use]
    pub fn redial(&self, method: &str, path: &str) -> Option<&Arc<RedialRule>> {
        let told = self.generations(method, path).is_some_and(|rule| rule.have_ends());
        self.sockets.redial(method, path).filter(|_| told)
    }

    /// The codes that its selectors find, in order, then the one in a close's reason, with what its tables say of each.
    pub(crate) fn codes_in<'p, 'e>(
        &'p self,
        evidence: &'e Evidence<'_>,
    ) -> impl Iterator<Item = (Cow<'e, str>, Option<Known<'p>>)> {
        self.codes.read(&self.fields.code, evidence).chain(self.code_in_reason(evidence))
    }

    /// The code of its table with which a close's reason begins.
    pub(crate) fn code_in_reason<'e>(&self, seen: &'e Evidence<'_>) -> Option<(Cow<'e, str>, Option<Known<'_>>)> {
        self.codes.in_reason(seen.ws_reason?)
    }

    /// The detector that says that this is a failure, if one does. The first that matches wins, `ignore` included.
    #[must_use]
    pub fn detect(&self, request: Option<(&str, &str)>, evidence: &Evidence<'_>) -> Option<&Detector> {
        self.detectors.iter().find(|detector| detector.matches(request, evidence)).filter(|detector| !detector.ignore)
    }
}

fn compile_codes(at: &str, table: &Table<MappingSpec>, problems: &mut Problems) -> CodeTable {
    CodeTable::new(table.iter().filter_map(|(code, mapping)| {
        let mapping = problems.keep(format!("{at}.{code}"), Mapping::compile(mapping, Some(code)))?;
        Some((Box::from(code.as_str()), mapping))
    }))
}

/// The code space that every profile has.
const GRPC: &str = "grpc";

/// The numbers of google.rpc.Code.
fn grpc_rows() -> impl Iterator<Item = (Box<str>, Mapping)> {
    let rows = (1..=16).filter_map(|number| Some((number, heuristics::by_grpc(number)?)));
    rows.map(|(number, code)| (number.to_string().into(), Mapping::of(code, Some(&number.to_string()))))
}

fn check_spaces(spec: &ProfileSpec, problems: &mut Problems) {
    for (index, selector) in spec.code.iter().enumerate() {
        if let SelectorSpec::Full(full) = selector
            && let Some(space) = &full.space
            && !spec.spaces.contains_key(space)
            && space != GRPC
        {
            problems.add(format!("code[{index}].space"), format!("there is no `[spaces.{space}]`"));
        }
    }
}

fn compile_rules(spec: &ProfileSpec, problems: &mut Problems) -> (Vec<Rule>, Vec<Rule>) {
    let (mut early, mut late) = (Vec::<Rule>::new(), Vec::<Rule>::new());
    for (index, spec) in spec.rules.iter().enumerate() {
        match Rule::compile(index, spec) {
            Ok(rule) => {
                let stage = if rule.is_early() { &mut early } else { &mut late };
                if let Some(all) = stage.iter().find(|rule| rule.is_unconditional()) {
                    let problem = format!("can never match: rules[{}] before it has no condition", all.index);
                    problems.add(format!("rules[{index}]"), problem);
                }
                stage.push(rule);
            }
            Err(all) => {
                for (member, problem) in all {
                    problems.add(format!("rules[{index}].{member}"), problem);
                }
            }
        }
    }
    for (index, rule) in spec.rules.iter().enumerate() {
        let conditions = |rule: &super::spec::RuleSpec| {
            format!("{:?}", (&rule.code, &rule.status, &rule.phase, &rule.close, &rule.when, &rule.message))
        };
        let twin = spec.rules.iter().take(index).position(|earlier| conditions(earlier) == conditions(rule));
        if let Some(twin) = twin {
            problems.add(format!("rules[{index}]"), format!("can never match: rules[{twin}] has the same conditions"));
        }
    }
    (early, late)
}

fn compile_texts(paths: &[String], problems: &mut Problems) -> Vec<TextPath> {
    let keep = |(index, path): (usize, &String)| problems.keep(format!("cost.text[{index}]"), TextPath::parse(path));
    paths.iter().enumerate().filter_map(keep).collect()
}

//! Provider profiles: those that are built in, and the operator's own.

use super::path::{Path, Step};
use super::problem::{Findings, alternatives};
use super::values;
use crate::canon::{Fallback, Profile, ProfileProblem, ProfileSpec};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// Every built-in profile: its name and its file.
const BUILT_IN: [(&str, &str); 37] = [
    ("elevenlabs", include_str!("../../config/providers/elevenlabs.toml")),
    ("cartesia", include_str!("../../config/providers/cartesia.toml")),
    ("breeze", include_str!("../../config/providers/breeze.toml")),
    ("corti", include_str!("../../config/providers/corti.toml")),
    ("zenhire", include_str!("../../config/providers/zenhire.toml")),
    ("deepgram", include_str!("../../config/providers/deepgram.toml")),
    ("openai", include_str!("../../config/providers/openai.toml")),
    ("google", include_str!("../../config/providers/google.toml")),
    ("riva", include_str!("../../config/providers/riva.toml")),
    ("azure", include_str!("../../config/providers/azure.toml")),
    ("aws", include_str!("../../config/providers/aws.toml")),
    ("assemblyai", include_str!("../../config/providers/assemblyai.toml")),
    ("groq", include_str!("../../config/providers/groq.toml")),
    ("speechmatics", include_str!("../../config/providers/speechmatics.toml")),
    ("soniox", include_str!("../../config/providers/soniox.toml")),
    ("gladia", include_str!("../../config/providers/gladia.toml")),
    ("rime", include_str!("../../config/providers/rime.toml")),
    ("inworld", include_str!("../../config/providers/inworld.toml")),
    ("sarvam", include_str!("../../config/providers/sarvam.toml")),
    ("fish", include_str!("../../config/providers/fish.toml")),
    ("hume", include_str!("../../config/providers/hume.toml")),
    ("smallest", include_str!("../../config/providers/smallest.toml")),
    ("lmnt", include_str!("../../config/providers/lmnt.toml")),
    ("neuphonic", include_str!("../../config/providers/neuphonic.toml")),
    ("playht", include_str!("../../config/providers/playht.toml")),
    ("murf", include_str!("../../config/providers/murf.toml")),
    ("resemble", include_str!("../../config/providers/resemble.toml")),
    ("revai", include_str!("../../config/providers/revai.toml")),
    ("speechace", include_str!("../../config/providers/speechace.toml")),
    ("telnyx", include_str!("../../config/providers/telnyx.toml")),
    ("kugelaudio", include_str!("../../config/providers/kugelaudio.toml")),
    ("sync", include_str!("../../config/providers/sync.toml")),
    ("xai", include_str!("../../config/providers/xai.toml")),
    ("gradium", include_str!("../../config/providers/gradium.toml")),
    ("minimax", include_str!("../../config/providers/minimax.toml")),
    ("edge", include_str!("../../config/providers/edge.toml")),
    ("generic", include_str!("../../config/providers/generic.toml")),
];

/// The names of the built-in profiles.
pub fn built_in_names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// The built-in profiles, in the order of their names above.
pub fn built_in_profiles() -> impl Iterator<Item = Arc<Profile>> {
    // A test of this crate holds that none is wrong.
    built_in_names().filter_map(|name| built_in(name)?.ok())
}

pub(super) fn is_built_in(name: &str) -> bool {
    built_in_names().any(|known| known == name)
}

type Compiled = Result<Arc<Profile>, Vec<ProfileProblem>>;

/// A built-in profile, compiled when it is first asked for; none when there is none of this name.
///
/// # Errors
/// The built-in file is wrong; a test of this crate holds that none is.
pub fn built_in(name: &str) -> Option<Compiled> {
    static COMPILED: [OnceLock<Compiled>; BUILT_IN.len()] = [const { OnceLock::new() }; BUILT_IN.len()];
    let ((name, text), compiled) = BUILT_IN.iter().zip(&COMPILED).find(|((known, _), _)| *known == name)?;
    Some(compiled.get_or_init(|| complete(name, parse(text)?)).clone())
}

/// What is wrong with what a profile says for routes that say nothing.
fn check_defaults(spec: &ProfileSpec) -> Vec<ProfileProblem> {
    let defaults = &spec.defaults;
    let duration = |text: &Option<String>| text.as_deref().and_then(|text| values::positive_duration(text).err());
    let size = defaults.max_request_body.as_deref().and_then(|text| match values::size(text) {
        Ok(0) => Some("a size of at least 1 byte".to_owned()),
        outcome => outcome.err(),
    });
    let wrong = |key: &str, expected: String| ProfileProblem {
        path: format!("defaults.{key}"),
        problem: format!("expected {expected}"),
    };
    [
        ("response", duration(&defaults.response)),
        ("max_request_body", size),
        ("idle_limit", duration(&defaults.idle_limit)),
    ]
    .into_iter()
    .filter_map(|(key, expected)| Some(wrong(key, expected?)))
    .collect()
}

/// Compiles a profile and puts behind it what every profile falls back to.
fn complete(name: &str, spec: ProfileSpec) -> Compiled {
    static FALLBACK: OnceLock<Result<Arc<Fallback>, Vec<ProfileProblem>>> = OnceLock::new();
    let alone = |name: &str| Profile::compile(name, built_in_spec(name).unwrap_or_default());
    let both = || Ok(Arc::new(Fallback { edge: alone("edge")?, generic: alone("generic")? }));
    let fallback = FALLBACK.get_or_init(both).clone()?;
    let wrong = check_defaults(&spec);
    match Profile::compile(name, spec) {
        Ok(profile) if wrong.is_empty() => Ok(Arc::new(profile.with_fallback(fallback))),
        Ok(_) => Err(wrong),
        Err(problems) => Err(problems.into_iter().chain(wrong).collect()),
    }
}

/// A built-in profile as it is written, to build on.
pub(super) fn built_in_spec(name: &str) -> Option<ProfileSpec> {
    let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
    parse(text).ok()
}

fn parse(text: &str) -> Result<ProfileSpec, Vec<ProfileProblem>> {
    let whole = |problem: String| vec![ProfileProblem { path: String::new(), problem }];
    let spec: ProfileSpec = toml::from_str(text).map_err(|error| whole(error.to_string()))?;
    match spec.extends {
        None => Ok(spec),
        Some(base) => Err(whole(format!("extends `{base}`, but a built-in profile builds on none"))),
    }
}

/// The profiles that routes may name.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    own: BTreeMap<String, ProfileSpec>,
    /// The operator's own, compiled; none for one with a problem, which has been noted.
    compiled: BTreeMap<String, Option<Arc<Profile>>>,
}

impl Profiles {
    /// Reads, merges and compiles the operator's own profiles.
    pub(super) fn resolve(raw: &BTreeMap<String, toml::Value>, findings: &mut Findings) -> Profiles {
        let mut profiles = Profiles::default();
        for (name, value) in raw {
            if let Some(spec) = read(name, value, findings) {
                profiles.own.insert(name.clone(), spec);
            }
        }
        for (name, value) in raw {
            let compiled = profiles.compile(name, value, findings);
            profiles.compiled.insert(name.clone(), compiled);
        }
        profiles
    }

    /// The profile that a route names.
    pub(super) fn find(&self, name: &str, path: &Path, findings: &mut Findings) -> Option<Arc<Profile>> {
        if let Some(own) = self.compiled.get(name) {
            return own.clone();
        }
        match built_in(name) {
            Some(Ok(profile)) => Some(profile),
            Some(Err(problems)) => {
                for ProfileProblem { path: inner, problem } in problems {
                    findings.value(path, format!("the built-in profile is wrong: {inner}: {problem}"));
                }
                None
            }
            None => {
                let what = format!("there is no provider {}", findings.quote(path, name));
                let names = self.names(None);
                let choices =
                    format!("{}, or a table of its own in `[providers]`", alternatives(names.iter().copied()));
                findings.value(path, what).expected(choices).nearest(name, names);
                None
            }
        }
    }

    /// The operator's own profiles.
    pub(super) fn into_own(self) -> BTreeMap<String, Arc<Profile>> {
        self.compiled.into_iter().filter_map(|(name, profile)| Some((name, profile?))).collect()
    }

    /// Every name that a route or a profile may give, beside `except`.
    fn names(&self, except: Option<&str>) -> Vec<&str> {
        let mut names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        names.extend(self.own.keys().map(String::as_str).filter(|name| !is_built_in(name)));
        names.retain(|name| Some(*name) != except);
        names
    }

    fn compile(&self, name: &str, value: &toml::Value, findings: &mut Findings) -> Option<Arc<Profile>> {
        let path = Path::of("providers").key(name);
        let spec = self.merged(name, &path, findings)?;
        let built_on_own = self.own.get(name).and_then(|spec| self.own.get(spec.extends.as_ref()?)).is_some();
        // What was wrong in it was taken out and noted; what is left is tried, in order to find the rest, but not used.
        match complete(name, spec) {
            Ok(profile) => Some(profile),
            Err(problems) => {
                for ProfileProblem { path: inner, problem } in problems {
                    // A base of the operator's own answers for what it says itself.
                    if !built_on_own || says(value, &Path::root().join(&inner)) {
                        findings.value(&path.join(&inner), problem);
                    }
                }
                None
            }
        }
    }

    /// A profile of the operator's own with its bases merged in.
    fn merged(&self, name: &str, path: &Path, findings: &mut Findings) -> Option<ProfileSpec> {
        let mut chain = vec![(name, self.own.get(name)?)];
        let base = loop {
            let (last, spec) = *chain.last()?;
            let Some(base) = spec.extends.as_deref() else { break None };
            // A profile may build on the built-in one whose name it takes over.
            let own = self.own.get_key_value(base).filter(|_| base != last || !is_built_in(base));
            match own {
                Some((base, _)) if chain.iter().any(|(known, _)| known == base) => {
                    let names: Vec<&str> = chain.iter().map(|(name, _)| *name).chain([base.as_str()]).collect();
                    let what = format!("builds on itself: {}", names.join(" → "));
                    findings.value(&path.key("extends"), what).expected("a chain that ends");
                    break None;
                }
                Some((base, spec)) => chain.push((base, spec)),
                None => break Some((last, base)),
            }
        };
        let mut parts: Vec<(String, ProfileSpec)> =
            chain.iter().map(|(name, spec)| ((*name).to_owned(), (*spec).clone())).collect();
        let base = match base {
            None => ProfileSpec::default(),
            Some((by, base)) => {
                let spec = self.base(name, by, base, path, findings);
                parts.push((base.to_owned(), spec.clone()));
                spec
            }
        };
        let merged = chain.into_iter().rev().fold(base, |base, (_, spec)| spec.clone().over(&base));
        Some(ProfileSpec { parts, ..merged })
    }

    /// The built-in profile at the end of a chain; an empty one for a base that does not exist.
    fn base(&self, name: &str, by: &str, base: &str, path: &Path, findings: &mut Findings) -> ProfileSpec {
        if let Some(spec) = built_in_spec(base) {
            return spec;
        }
        // Each profile answers for its own key only.
        if by == name {
            let here = path.key("extends");
            let what = format!("there is no profile {}", findings.quote(&here, base));
            let others = self.names(Some(name));
            let choices = alternatives(others.iter().copied());
            findings.value(&here, what).expected(choices).nearest(base, others);
        }
        ProfileSpec::default()
    }
}

/// Whether a profile as written has an entry there: its first two steps tell, since lists go before those of the base.
fn says(profile: &toml::Value, path: &Path) -> bool {
    let mut here = Some(profile);
    for step in path.steps().iter().take(2) {
        here = match (here, step) {
            (Some(toml::Value::Table(table)), Step::Key(key)) => table.get(key),
            (Some(toml::Value::Array(array)), Step::Index(index)) => array.get(*index),
            // A single value where a list may be.
            (single, Step::Index(0)) => single,
            (_, Step::Key(_) | Step::Index(_)) => None,
        };
    }
    here.is_some()
}

/// One profile as the operator wrote it; none when it has problems, which are noted by now.
fn read(name: &str, value: &toml::Value, findings: &mut Findings) -> Option<ProfileSpec> {
    let path = Path::of("providers").key(name);
    if let Err(expected) = values::name(name) {
        findings.key(&path, "this name cannot be used").expected(expected);
    }
    match ProfileSpec::deserialize(value.clone()) {
        Ok(spec) => Some(spec),
        Err(error) => {
            if !findings.any_within(&path) {
                findings.value(&path, error.message().to_owned());
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_compiles() {
        for name in built_in_names() {
            let profile = built_in(name).expect("a built-in name");
            assert!(profile.is_ok(), "{name}: {profile:?}");
        }
        assert!(built_in("nobody").is_none());
    }
}

//! Problems in a profile, collected while it is compiled.

use super::spec::OneOrMany;
use super::template::PathTemplate;

/// One problem in a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileProblem {
    /// The key path inside the profile: `rules[3].message`, `codes.X`.
    pub path: String,
    /// What is wrong and what was expected, in one sentence.
    pub problem: String,
}

/// Collects problems while a profile is compiled.
pub(super) struct Problems(pub(super) Vec<ProfileProblem>);

impl Problems {
    pub(super) fn add(&mut self, path: impl Into<String>, problem: impl Into<String>) {
        self.0.push(ProfileProblem { path: path.into(), problem: problem.into() });
    }

    pub(super) fn keep<T>(&mut self, path: impl Into<String>, result: Result<T, String>) -> Option<T> {
        result.map_err(|problem| self.add(path, problem)).ok()
    }
}

/// The path templates at one key.
pub(super) fn compile_paths(at: &str, paths: Option<&OneOrMany<String>>, problems: &mut Problems) -> Vec<PathTemplate> {
    let paths = paths.map(OneOrMany::as_slice).unwrap_or_default();
    paths.iter().filter_map(|path| problems.keep(at, PathTemplate::parse(path))).collect()
}

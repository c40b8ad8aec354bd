//! Sockets on which clients may show their key in the first message, and nowhere before.

use super::problems::{Problems, compile_paths};
use super::spec::ProfileSpec;
use super::template::PathTemplate;

/// All of a profile.
#[derive(Debug)]
pub struct Openings(Vec<(Vec<PathTemplate>, Vec<String>)>);

impl Openings {
    pub(super) fn compile(spec: &ProfileSpec, problems: &mut Problems) -> Openings {
        let mut all = Vec::new();
        for (index, row) in spec.secrets.first_messages.iter().enumerate() {
            let at = format!("secrets.first_messages[{index}]");
            if row.members.is_empty() {
                problems.add(format!("{at}.members"), "expected the name of a member, such as `api_key`".to_owned());
            }
            all.push((compile_paths(&format!("{at}.path"), Some(&row.path), problems), row.members.clone()));
        }
        Openings(all)
    }

    /// The members of the first message in which the client of this socket may show its key.
    pub fn members(&self, method: &str, path: &str) -> impl Iterator<Item = &str> {
        let here = move |paths: &[PathTemplate]| paths.iter().any(|template| template.matches(method, path));
        self.0.iter().filter(move |(paths, _)| here(paths)).flat_map(|(_, members)| members).map(String::as_str)
    }
}

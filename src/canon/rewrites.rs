//! Where answers hold URLs of the provider, which are pointed back to the gateway.

use super::path::Path;
use super::problems::{Problems, compile_paths};
use super::spec::{ProfileSpec, RewriteSpec};
use super::template::PathTemplate;

/// Those in success bodies.
#[derive(Debug)]
pub(super) struct Rewrites(Vec<Rewrite>);

#[derive(Debug)]
struct Rewrite {
    paths: Vec<PathTemplate>,
    members: Vec<Path>,
}

impl Rewrites {
    /// Compiles them, and checks the names of the header fields that hold further ones.
    pub(super) fn compile(spec: &ProfileSpec, problems: &mut Problems) -> Rewrites {
        for (index, name) in spec.url_headers.iter().enumerate() {
            if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
                problems
                    .add(format!("url_headers[{index}]"), "expected the name of a header field, such as `x-next-page`");
            }
        }
        let compile = |(index, spec): (usize, &RewriteSpec)| Rewrite {
            paths: compile_paths(&format!("rewrite[{index}].path"), Some(&spec.path), problems),
            members: spec
                .members
                .iter()
                .filter_map(|member| problems.keep(format!("rewrite[{index}].members"), Path::parse_relative(member)))
                .collect(),
        };
        Rewrites(spec.rewrite.iter().enumerate().map(compile).collect())
    }

    /// The members that hold one in the answer to this request.
    pub(super) fn of(&self, method: &str, path: &str) -> Option<&[Path]> {
        let fits = |rewrite: &&Rewrite| rewrite.paths.iter().any(|template| template.matches(method, path));
        self.0.iter().find(fits).map(|rewrite| rewrite.members.as_slice())
    }
}

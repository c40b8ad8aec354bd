//! Where in the configuration something stands: `routes[0].timeouts.connect`.

use std::fmt;

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// A key of a table.
    Key(String),
    /// A place in an array.
    Index(usize),
}

/// A key path, from the top of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path(Vec<Step>);

impl Path {
    /// The top of the configuration.
    pub(crate) fn root() -> Path {
        Path::default()
    }

    /// A path of one key.
    pub(crate) fn of(key: &str) -> Path {
        Path::root().key(key)
    }

    /// The path of a key under this one.
    #[must_use]
    pub(crate) fn key(&self, key: &str) -> Path {
        self.then(Step::Key(key.to_owned()))
    }

    /// The path of an array's element under this one.
    #[must_use]
    pub(crate) fn index(&self, index: usize) -> Path {
        self.then(Step::Index(index))
    }

    /// The path with one more step.
    #[must_use]
    pub(crate) fn then(&self, step: Step) -> Path {
        let mut steps = self.0.clone();
        steps.push(step);
        Path(steps)
    }

    /// The path of what contains this; none for the top.
    pub(crate) fn parent(&self) -> Option<Path> {
        let (_, parent) = self.0.split_last()?;
        Some(Path(parent.to_vec()))
    }

    /// The steps, from the top.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether this is `other` or lies inside it.
    pub(crate) fn is_within(&self, other: &Path) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The array of which this is an element or inside of one, the outermost first.
    pub(crate) fn arrays(&self) -> impl Iterator<Item = Path> + '_ {
        self.0
            .iter()
            .enumerate()
            .filter(|(_, step)| matches!(step, Step::Index(_)))
            .map(|(at, _)| Path(self.0.iter().take(at).cloned().collect()))
    }

    /// Adds a path as `canon` writes it (`rules[3].when."$.status"`); what cannot be read as one is left out.
    #[must_use]
    pub(crate) fn join(&self, text: &str) -> Path {
        let mut path = self.clone();
        let mut rest = text;
        while let Some((step, left)) = next_step(rest) {
            path.0.push(step);
            rest = left;
        }
        path
    }
}

/// Splits the first step off a path that is written as text.
fn next_step(text: &str) -> Option<(Step, &str)> {
    let text = text.strip_prefix('.').unwrap_or(text);
    if let Some(rest) = text.strip_prefix('[') {
        let (index, rest) = rest.split_once(']')?;
        return Some((Step::Index(index.parse().ok()?), rest));
    }
    if let Some(rest) = text.strip_prefix('"') {
        let (key, rest) = rest.split_once('"')?;
        return Some((Step::Key(key.to_owned()), rest));
    }
    let end = text.find(['.', '[']).unwrap_or(text.len());
    let (key, rest) = text.split_at_checked(end)?;
    (!key.is_empty()).then(|| (Step::Key(key.to_owned()), rest))
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    f.write_str(if at == 0 { "" } else { "." })?;
                    if is_bare(key) { f.write_str(key)? } else { write!(f, "{key:?}")? }
                }
            }
        }
        Ok(())
    }
}

/// Whether TOML lets a key stand without quotes.
pub(crate) fn is_bare(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["routes[0].timeouts.connect", "providers.acme.rules[3].when.\"$.status\"", "server"] {
            assert_eq!(Path::root().join(text).to_string(), text);
        }
        assert_eq!(Path::of("providers").key("acme").join("codes.X").to_string(), "providers.acme.codes.X");
        assert_eq!(Path::of("a").join("b[x].c").to_string(), "a.b", "what cannot be read is left out");
    }
}

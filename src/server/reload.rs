//! The result of the last reload, for people to look at.

use std::fmt;
use std::time::SystemTime;

/// A reload that has ended.
#[derive(Clone, Debug)]
pub struct Reload {
    /// When.
    pub at: SystemTime,
    /// Who asked for it.
    pub cause: Cause,
    /// The result: the changed keys that take effect with a restart, or every problem. Neither contains secrets.
    pub outcome: Result<Vec<&'static str>, String>,
}

/// Who asked for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// SIGHUP.
    Signal,
    /// `POST /-/reload`.
    Request,
    /// A file has changed.
    Files,
}

impl Cause {
    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::Signal => "SIGHUP",
            Cause::Request => "request",
            Cause::Files => "files",
        }
    }
}

impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Err(problems) => f.write_str(problems),
            Ok(restart) if restart.is_empty() => f.write_str("reloaded\n"),
            Ok(restart) => writeln!(f, "reloaded; these take effect with a restart: {}", restart.join(", ")),
        }
    }
}

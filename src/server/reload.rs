//! The result of the last reload, for the status page.

use std::fmt;
use std::time::SystemTime;

/// A completed reload.
#[derive(Clone, Debug)]
pub struct Reload {
    /// When it completed.
    pub at: SystemTime,
    /// What triggered it.
    pub cause: Cause,
    /// The result: the changed keys that take effect with a restart, or every problem. Neither contains secrets.
    pub outcome: Result<Vec<&'static str>, String>,
}

/// What triggered a reload.
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
    /// The name that pages and logs show.
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

//! The providers that can be simulated.

use std::fmt;

/// A provider that can be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Provider {
    ElevenLabs,
    Cartesia,
    Breeze,
    Corti,
    ZenHire,
}

impl Provider {
    /// All five, in the order of their declaration.
    pub const ALL: [Provider; 5] =
        [Provider::ElevenLabs, Provider::Cartesia, Provider::Breeze, Provider::Corti, Provider::ZenHire];

    /// The name of its built-in profile.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Provider::ElevenLabs => "elevenlabs",
            Provider::Cartesia => "cartesia",
            Provider::Breeze => "breeze",
            Provider::Corti => "corti",
            Provider::ZenHire => "zenhire",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

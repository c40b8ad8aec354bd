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
    Deepgram,
    OpenAi,
    Google,
    Azure,
    Aws,
    AssemblyAi,
}

impl Provider {
    /// All of them, in the order of their declaration.
    pub const ALL: [Provider; 11] = [
        Provider::ElevenLabs,
        Provider::Cartesia,
        Provider::Breeze,
        Provider::Corti,
        Provider::ZenHire,
        Provider::Deepgram,
        Provider::OpenAi,
        Provider::Google,
        Provider::Azure,
        Provider::Aws,
        Provider::AssemblyAi,
    ];

    /// The name of its built-in profile.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Provider::ElevenLabs => "elevenlabs",
            Provider::Cartesia => "cartesia",
            Provider::Breeze => "breeze",
            Provider::Corti => "corti",
            Provider::ZenHire => "zenhire",
            Provider::Deepgram => "deepgram",
            Provider::OpenAi => "openai",
            Provider::Google => "google",
            Provider::Azure => "azure",
            Provider::Aws => "aws",
            Provider::AssemblyAi => "assemblyai",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

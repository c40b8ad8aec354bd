//! Generations as a profile writes them: where one begins and ends, where its text and its audio are, and in which format.

use super::values::one_or_many;
use super::{ConditionSpec, OneOrMany, Scalar, SelectorSpec, Table};
use schemars::JsonSchema;
use serde::Deserialize;

/// What a provider was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GenerationKind {
    /// Text to speech.
    #[default]
    Tts,
    /// Speech to text.
    Stt,
    /// A turn of a conversation.
    Agent,
    /// Anything else.
    Other,
}

impl GenerationKind {
    /// All of them, in order.
    pub const ALL: [GenerationKind; 4] =
        [GenerationKind::Tts, GenerationKind::Stt, GenerationKind::Agent, GenerationKind::Other];

    /// The spelling in labels and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            GenerationKind::Tts => "tts",
            GenerationKind::Stt => "stt",
            GenerationKind::Agent => "agent",
            GenerationKind::Other => "other",
        }
    }
}

/// The generations of one kind of request or socket.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GenerationSpec {
    /// Method and path template of the request, or of the socket's handshake; every path without it.
    pub path: Option<OneOrMany<String>>,
    /// tts, stt, agent or other.
    pub kind: GenerationKind,
    /// Sockets: where the id is, in messages of either side. Without it there is one at a time, and its failure ends the session.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<SelectorSpec>")]
    pub id: Vec<SelectorSpec>,
    /// Sockets: how many one of them takes at one time; a message that begins one more waits.
    #[schemars(range(min = 1))]
    pub max: Option<u32>,
    /// Sockets: conditions over a message of the client's that begins one, unless it is running.
    pub begins: Option<OneOrMany<Table<ConditionSpec>>>,
    /// Sockets: conditions over a message of the provider's that begins one, as turns of a conversation do. They take no slot.
    pub starts: Option<OneOrMany<Table<ConditionSpec>>>,
    /// Sockets: conditions over a message with which the client has said all that it has to say in one.
    pub last: Option<OneOrMany<Table<ConditionSpec>>>,
    /// Sockets: conditions over a message with which the client wants what it has said so far, and may say more.
    pub flush: Option<OneOrMany<Table<ConditionSpec>>>,
    /// Sockets: query parameters of the handshake, `name=value`, with one of which every text is wanted at once.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub eager: Vec<String>,
    /// Sockets: conditions over a message of the client's that ends one.
    pub cancels: Option<OneOrMany<Table<ConditionSpec>>>,
    /// Sockets: conditions over a message of the provider's that ends one. Its errors do so anyway.
    pub ends: Option<OneOrMany<Table<ConditionSpec>>>,
    /// Conditions over a message of the provider's that is a final result of a transcription.
    pub result: Option<OneOrMany<Table<ConditionSpec>>>,
    /// Where the text is in the body or in the client's messages; `cost.text` without it.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub text: Vec<String>,
    /// Where the provider's audio is: `body`, `binary` (messages of a socket), or a member in base64, `$.audio`. A member is found by
    /// its last name. Where nothing is said, the body is audio when its Content-Type says so.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<AudioSpec>")]
    pub audio: Vec<AudioSpec>,
    /// The same for the client's audio.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<AudioSpec>")]
    pub input: Vec<AudioSpec>,
    /// The format of the provider's audio.
    pub format: FormatSpec,
    /// The format of the client's audio.
    pub input_format: FormatSpec,
    /// Where the model is: `query:name`, `path:name`, `h:name` (a header of the answer, else of the request) or `$.member` of what
    /// the client sends.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub model: Vec<String>,
    /// The provider's own figures: `characters`, `audio_seconds`, `credits` or `tokens` to where it is, in a header of the answer
    /// or a message.
    pub figures: Table<OneOrMany<SelectorSpec>>,
}

/// Where audio is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum AudioSpec {
    /// `body`, `binary` or `$.member`.
    Place(String),
    /// A member that is audio in some messages only.
    Member(AudioMemberSpec),
}

/// A member that is audio in some messages only.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AudioMemberSpec {
    /// The member.
    pub from: String,
    /// Members, each with the value that it has in such a message, or several.
    pub when: Table<OneOrMany<Scalar>>,
}

/// The format of audio: each key is a list of places as in `model`, the first that finds something wins.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FormatSpec {
    /// Where its name is: `pcm_16000`, `mp3_44100_128`, `linear16`, `audio/pcm;rate=24000`.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub name: Vec<String>,
    /// Where the sample rate is, in hertz, when the name does not say it.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub rate: Vec<String>,
    /// Where the bit rate is, in bits or in kilobits per second.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub bit_rate: Vec<String>,
    /// Where the number of channels is; one without it.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub channels: Vec<String>,
    /// The format where nobody names one.
    pub default: Option<String>,
    /// The sample rate where nobody gives one.
    pub default_rate: Option<u32>,
}

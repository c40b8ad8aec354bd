//! The keys of limits, waits, retries, circuit breakers and silence.

use super::{DurationText, FileText, FirstAudioText, PercentageText};
use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An entry of `rate_limits`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RateLimit {
    /// How many requests.
    #[schemars(required, range(min = 1))]
    pub(in crate::config) requests: Option<u32>,
    /// In which time.
    #[schemars(required)]
    pub(in crate::config) per: Option<DurationText>,
    /// How many may come in a burst. Default: as many as `requests`.
    #[schemars(range(min = 1))]
    pub(in crate::config) burst: Option<u32>,
    /// Which requests it counts: method and path template, `GET /v1/jobs/{id}`. Default: all.
    #[serde(rename = "match")]
    pub(in crate::config) matches: Option<String>,
    /// What is counted separately: `route`, `header:NAME`, `client-ip`, `path:NAME` or `credential`.
    #[schemars(extend("default" = defaults::limits::RATE_KEY))]
    pub(in crate::config) key: Option<String>,
    /// The code of the refusal.
    #[schemars(extend("default" = defaults::limits::RATE_CODE.as_str()))]
    pub(in crate::config) code: Option<String>,
    /// What `requests` and `burst` count.
    #[schemars(extend("default" = Cost::default()))]
    pub(in crate::config) cost: Option<Cost>,
}

/// What a rate limit counts.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum Cost {
    #[default]
    Requests,
    TextCharacters,
    AudioSeconds,
    BodyBytes,
}

/// `concurrency`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Concurrency {
    /// Calls at one time.
    #[schemars(required, range(min = 1))]
    pub(in crate::config) max: Option<u32>,
    /// How many may wait for a slot.
    #[schemars(extend("default" = defaults::limits::QUEUE))]
    pub(in crate::config) queue: Option<u32>,
    /// How long one may wait.
    #[schemars(extend("default" = defaults::duration(defaults::limits::MAX_WAIT)))]
    pub(in crate::config) max_wait: Option<DurationText>,
    /// Whether the cap is learned from the provider's responses, up to `max`.
    #[schemars(extend("default" = defaults::limits::LEARN))]
    pub(in crate::config) learn: Option<bool>,
    /// How long the slot of a cancelled call stays taken, because the provider still counts the call.
    #[schemars(extend("default" = defaults::duration(defaults::limits::SETTLE)))]
    pub(in crate::config) settle: Option<DurationText>,
}

/// `waits`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Waits {
    /// Whether requests are answered here until the provider's `Retry-After` is over, and handshakes are refused for some seconds after
    /// a credential was refused on a socket.
    #[schemars(extend("default" = defaults::limits::WAITS))]
    pub(in crate::config) enabled: Option<bool>,
    /// The longest `Retry-After` that is respected.
    #[schemars(extend("default" = defaults::duration(defaults::limits::MAX_HOLD)))]
    pub(in crate::config) max_hold: Option<DurationText>,
    /// Which requests with the same credential a `Retry-After` applies to.
    #[schemars(extend("default" = WaitScope::default()))]
    pub(in crate::config) scope: Option<WaitScope>,
}

/// Which requests with the same credential a `Retry-After` applies to.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum WaitScope {
    /// After `rate_limited` all of them, after `unavailable` those to a path of the same kind, until paths of two kinds are
    /// unavailable.
    #[default]
    Auto,
    /// Those to the same path.
    Path,
    /// All of them.
    Credential,
}

/// `retry`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Retry {
    /// Tries in all, the first included.
    #[schemars(range(min = 2, max = 10))]
    #[schemars(extend("default" = defaults::limits::RETRY_ATTEMPTS))]
    pub(in crate::config) attempts: Option<u32>,
    /// The types of errors after which it is tried again.
    #[schemars(extend("default" = defaults::limits::RETRY_ON.map(|kind| kind.as_str())))]
    pub(in crate::config) on: Option<Vec<String>>,
    /// Retries as a share of requests, so that an outage is not amplified.
    #[schemars(extend("default" = defaults::percentage(defaults::limits::RETRY_BUDGET)))]
    pub(in crate::config) budget: Option<PercentageText>,
}

/// `circuit_breaker`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct CircuitBreaker {
    /// After how many failures in a row.
    #[schemars(range(min = 1, max = 10_000))]
    #[schemars(extend("default" = defaults::limits::BREAKER_FAILURES))]
    pub(in crate::config) failures: Option<u32>,
    /// Within which time.
    #[schemars(extend("default" = defaults::duration(defaults::limits::BREAKER_WINDOW)))]
    pub(in crate::config) window: Option<DurationText>,
    /// How long it gets no requests; then one probe decides.
    #[schemars(extend("default" = defaults::duration(defaults::limits::BREAKER_OPEN)))]
    pub(in crate::config) open: Option<DurationText>,
}

/// `silence`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Silence {
    /// How long the first audio may take once the provider has all that it needs; `auto` learns it.
    pub(in crate::config) first_audio: Option<FirstAudioText>,
    /// How long audio may stop in the middle, by the provider's doing.
    pub(in crate::config) gap: Option<DurationText>,
    /// Whether an end without any audio is an error.
    pub(in crate::config) empty: Option<bool>,
    /// How long the final result of a transcription on a socket may take once it was asked to finish.
    pub(in crate::config) result: Option<DurationText>,
    /// Audio whose peak is below this, in dB of full scale, is silence; only in PCM of 16 bits and µ-law.
    #[schemars(range(min = -96, max = 0))]
    pub(in crate::config) level: Option<f32>,
}

/// `[limits]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Limits {
    /// `redis://…`, `rediss://…` or `redis+unix://…`: rate and concurrency limits are shared through it. Default: each
    /// gateway for itself.
    pub(in crate::config) backend: Option<String>,
    /// CA certificates that are trusted instead of the platform's, for a `rediss://` backend: a PEM file.
    pub(in crate::config) ca: Option<FileText>,
    /// A file in which is kept what tenants have used of their budgets. Without it and without a backend a restart forgets that.
    pub(in crate::config) state: Option<String>,
    /// How long slots stay with a gateway that is not heard of any more.
    #[schemars(extend("default" = defaults::duration(defaults::limits::LEASE)))]
    pub(in crate::config) lease: Option<DurationText>,
    /// How long a request waits for the backend before it is counted locally; less where that is more than a tenth of the lease.
    #[schemars(extend("default" = defaults::duration(defaults::limits::TIMEOUT)))]
    pub(in crate::config) timeout: Option<DurationText>,
    /// What the backend's keys and channels begin with.
    #[schemars(extend("default" = defaults::limits::PREFIX))]
    pub(in crate::config) prefix: Option<String>,
}

//! The keys of a route that say where the provider is, how it is spoken to, and how its health is checked.

use super::{DurationText, FileText, UrlText};
use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which HTTP is spoken to a provider.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Protocol {
    #[default]
    Auto,
    Http1,
    Http2,
}

/// `upstream_tls`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct UpstreamTls {
    /// CA certificates, PEM, that are trusted instead of the platform's.
    pub(in crate::config) ca: Option<FileText>,
    /// The certificate chain that this gateway shows to the provider, PEM; `private_key` belongs to it.
    pub(in crate::config) certificate: Option<FileText>,
    /// The private key of `certificate`, PEM.
    pub(in crate::config) private_key: Option<FileText>,
}

/// An entry of `upstreams`: a URL, or a table with its weight.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum UpstreamEntry {
    /// Its URL.
    Url(UrlText),
    /// A table.
    Weighted(WeightedUpstream),
}

impl UpstreamEntry {
    pub(in crate::config) fn url(&self) -> Option<&str> {
        match self {
            UpstreamEntry::Url(url) => Some(&url.0),
            UpstreamEntry::Weighted(entry) => entry.url.as_ref().map(|url| url.0.as_str()),
        }
    }

    pub(in crate::config) fn weight(&self) -> Option<u32> {
        match self {
            UpstreamEntry::Url(_) => None,
            UpstreamEntry::Weighted(entry) => entry.weight,
        }
    }
}

/// An upstream with its weight
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct WeightedUpstream {
    /// Where requests go.
    #[schemars(required)]
    pub(in crate::config) url: Option<UrlText>,
    /// Which part of the requests it takes, beside the weights of the others. Where one upstream has a weight, those without have
    /// 1; where none has, the first takes all that it can. 0: only when no other may be used.
    #[schemars(range(min = 0, max = 1000))]
    pub(in crate::config) weight: Option<u32>,
}

/// `health`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Health {
    /// What is asked for with GET, below the path of the upstream.
    #[schemars(required)]
    pub(in crate::config) path: Option<String>,
    /// How often each upstream is asked.
    #[schemars(extend("default" = defaults::duration(defaults::health::INTERVAL)))]
    pub(in crate::config) interval: Option<DurationText>,
    /// How long an answer may take, at most the interval, which is the default where it is shorter.
    #[schemars(extend("default" = defaults::duration(defaults::health::TIMEOUT)))]
    pub(in crate::config) timeout: Option<DurationText>,
    /// After how many good answers in a row an upstream is used again.
    #[schemars(extend("default" = defaults::health::HEALTHY))]
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) healthy: Option<u32>,
    /// After how many bad ones in a row, or none, it is set aside.
    #[schemars(extend("default" = defaults::health::UNHEALTHY))]
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) unhealthy: Option<u32>,
    /// Which statuses are good: `200`, or `200-399`. By default refusals are, because a provider that refuses is there.
    #[schemars(extend("default" = defaults::statuses(defaults::health::STATUS)))]
    pub(in crate::config) status: Option<StatusRange>,
    /// Whether the route's credentials go with the question.
    #[schemars(extend("default" = defaults::health::CREDENTIALS))]
    pub(in crate::config) credentials: Option<bool>,
}

/// A status, or a range of them.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "a status or a range", extend("examples" = ["200", "200-399"]))]
pub(in crate::config) enum StatusRange {
    /// One.
    One(u16),
    /// A range.
    Text(String),
}

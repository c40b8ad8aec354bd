//! `google.rpc.Status` and the messages of `google/rpc/error_details.proto`: read into JSON as Google's REST answers write them, and
//! our own written. Unknown messages keep only their type, and so does `DebugInfo`: stack traces must not leave the provider.

use prost::Message;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most detail messages that are read.
const MOST: usize = 32;
/// What stands before the name of a type.
const TYPES: &str = "type.googleapis.com/google.rpc.";

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct QuotaFailure {
    #[prost(message, repeated, tag = "1")]
    violations: Vec<QuotaViolation>,
}

#[derive(Clone, PartialEq, Message)]
struct QuotaViolation {
    #[prost(string, tag = "1")]
    subject: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    api_service: String,
    #[prost(string, tag = "4")]
    quota_metric: String,
    #[prost(string, tag = "5")]
    quota_id: String,
    #[prost(btree_map = "string, string", tag = "6")]
    quota_dimensions: BTreeMap<String, String>,
    #[prost(int64, tag = "7")]
    quota_value: i64,
}

#[derive(Clone, PartialEq, Message)]
struct PreconditionFailure {
    #[prost(message, repeated, tag = "1")]
    violations: Vec<Precondition>,
}

#[derive(Clone, PartialEq, Message)]
struct Precondition {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    subject: String,
    #[prost(string, tag = "3")]
    description: String,
}

#[derive(Clone, PartialEq, Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    reason: String,
}

#[derive(Clone, PartialEq, Message)]
struct RequestInfo {
    #[prost(string, tag = "1")]
    request_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceInfo {
    #[prost(string, tag = "1")]
    resource_type: String,
    #[prost(string, tag = "2")]
    resource_name: String,
    #[prost(string, tag = "4")]
    description: String,
}

#[derive(Clone, PartialEq, Message)]
struct Help {
    #[prost(message, repeated, tag = "1")]
    links: Vec<Link>,
}

#[derive(Clone, PartialEq, Message)]
struct Link {
    #[prost(string, tag = "1")]
    description: String,
    #[prost(string, tag = "2")]
    url: String,
}

#[derive(Clone, PartialEq, Message)]
struct LocalizedMessage {
    #[prost(string, tag = "1")]
    locale: String,
    #[prost(string, tag = "2")]
    message: String,
}

/// The details of a `google.rpc.Status`, each with its `@type`; none where the bytes are no such message.
pub(super) fn read(bytes: &[u8]) -> Vec<Value> {
    let Ok(status) = Status::decode(bytes) else { return Vec::new() };
    status.details.iter().take(MOST).filter(|any| !any.type_url.is_empty()).map(detail).collect()
}

fn detail(any: &Any) -> Value {
    let name = any.type_url.rsplit_once('/').map_or(any.type_url.as_str(), |(_, name)| name);
    let members = name.strip_prefix("google.rpc.").and_then(|name| members(name, &any.value));
    let mut detail = Map::new();
    let _ = detail.insert("@type".to_owned(), Value::from(any.type_url.as_str()));
    if let Some(Value::Object(members)) = members {
        // As Google's JSON, which leaves out what says nothing.
        detail.extend(members.into_iter().filter(|(_, value)| !is_empty(value)));
    }
    Value::Object(detail)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What one of the known messages says.
fn members(name: &str, value: &[u8]) -> Option<Value> {
    fn of<M: Message + Default>(value: &[u8]) -> Option<M> {
        M::decode(value).ok()
    }
    Some(match name {
        "ErrorInfo" => {
            let ErrorInfo { reason, domain, metadata } = of(value)?;
            json!({ "reason": reason, "domain": domain, "metadata": metadata })
        }
        "RetryInfo" => json!({ "retryDelay": of::<RetryInfo>(value)?.retry_delay.map(|delay| delay.text()) }),
        "QuotaFailure" => {
            let violations = of::<QuotaFailure>(value)?.violations;
            json!({ "violations": violations.iter().map(QuotaViolation::json).collect::<Vec<_>>() })
        }
        "PreconditionFailure" => {
            let one = |one: &Precondition| json!({ "type": one.kind, "subject": one.subject, "description": one.description });
            json!({ "violations": of::<PreconditionFailure>(value)?.violations.iter().map(one).collect::<Vec<_>>() })
        }
        "BadRequest" => {
            let one = |one: &FieldViolation| json!({ "field": one.field, "description": one.description, "reason": one.reason });
            json!({ "fieldViolations": of::<BadRequest>(value)?.field_violations.iter().map(one).collect::<Vec<_>>() })
        }
        "RequestInfo" => json!({ "requestId": of::<RequestInfo>(value)?.request_id }),
        "ResourceInfo" => {
            let ResourceInfo { resource_type, resource_name, description } = of(value)?;
            json!({ "resourceType": resource_type, "resourceName": resource_name, "description": description })
        }
        "Help" => {
            let one = |one: &Link| json!({ "description": one.description, "url": one.url });
            json!({ "links": of::<Help>(value)?.links.iter().map(one).collect::<Vec<_>>() })
        }
        "LocalizedMessage" => {
            let LocalizedMessage { locale, message } = of(value)?;
            json!({ "locale": locale, "message": message })
        }
        _ => return None,
    })
}

impl QuotaViolation {
    fn json(&self) -> Value {
        let all = json!({
            "subject": self.subject, "description": self.description, "apiService": self.api_service,
            "quotaMetric": self.quota_metric, "quotaId": self.quota_id, "quotaDimensions": self.quota_dimensions,
            "quotaValue": if self.quota_value == 0 { String::new() } else { self.quota_value.to_string() },
        });
        // The macro makes an object.
        let members = all.as_object().into_iter().flatten();
        members.filter(|(_, value)| !is_empty(value)).map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

impl Delay {
    /// As protobuf's JSON has it: `1.500s`. A negative one is none.
    fn text(&self) -> String {
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(self.seconds), u32::try_from(self.nanos)) else {
            return String::new();
        };
        if nanos == 0 { format!("{seconds}s") } else { format!("{seconds}.{nanos:09}s") }
    }
}

/// What our own details say.
#[derive(Clone, Debug)]
pub struct Note<'a> {
    /// The number in `grpc-status`, and the sentence in `grpc-message`: clients refuse details that say another one.
    pub number: u8,
    /// The sentence.
    pub message: &'a str,
    /// The code, in capitals as `ErrorInfo` has it.
    pub reason: String,
    /// What else is known, by name.
    pub metadata: BTreeMap<String, String>,
    /// How long to wait.
    pub retry_after: Option<Duration>,
}

/// A `google.rpc.Status` with an `ErrorInfo` of ours, and a `RetryInfo` where there is a wait.
#[must_use]
pub fn write_details(note: Note<'_>) -> Vec<u8> {
    let any = |name: &str, value: Vec<u8>| Any { type_url: format!("{TYPES}{name}"), value };
    let info = ErrorInfo { reason: note.reason, domain: DOMAIN.to_owned(), metadata: note.metadata };
    let mut details = vec![any("ErrorInfo", info.encode_to_vec())];
    details.extend(note.retry_after.map(|wait| {
        let nanos = i32::try_from(wait.subsec_nanos()).unwrap_or_default();
        let delay = Delay { seconds: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX), nanos };
        any("RetryInfo", RetryInfo { retry_delay: Some(delay) }.encode_to_vec())
    }));
    Status { code: i32::from(note.number), message: note.message.to_owned(), details }.encode_to_vec()
}

/// The domain of our ErrorInfo.
const DOMAIN: &str = "speechgate";

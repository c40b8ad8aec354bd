//! What recordings mean, as one JSON document: for scripts, and for tests of profiles.

use super::Verdict;
use crate::canon::envelope::{self, Stamp};
use crate::canon::{CanonicalError, Profile};
use crate::telemetry;
use serde_json::{Map, Value, json};
use std::time::SystemTime;

/// A recording, and what it means or why that cannot be determined.
#[derive(Debug)]
pub struct Explained {
    /// The name of its file, or `-`.
    pub name: String,
    /// What it means.
    pub verdict: Result<Verdict, String>,
}

/// One document for all recordings.
#[must_use]
pub fn document(profile: &Profile, recordings: &[Explained]) -> String {
    let recordings: Vec<Value> = recordings.iter().map(|told| recording(profile, told)).collect();
    let document = json!({ "provider": profile.name(), "recordings": recordings });
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

fn recording(profile: &Profile, told: &Explained) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| {
        let _ = object.insert(name.to_owned(), value);
    };
    put("file", told.name.clone().into());
    match &told.verdict {
        Err(problem) => put("problem", problem.clone().into()),
        Ok(verdict) => {
            put("transport", verdict.transport.into());
            put("status", verdict.status.into());
            put("found", verdict.found.clone().into());
            put("envelope", verdict.error.as_ref().map_or(Value::Null, |error| written(profile, error)));
            put("read", verdict.explanation.read.iter().map(read).collect());
            put("asked", verdict.explanation.asked.iter().map(asked).collect());
            if let Some(error) = &verdict.error {
                put("meaning", error.code.row().sentence.into());
                put("advice", error.code.row().advice.into());
                put("unmapped", error.unmapped.into());
            }
        }
    }
    Value::Object(object)
}

fn read(read: &crate::canon::reads::Read) -> Value {
    json!({
        "field": read.field,
        "profile": read.profile,
        "index": read.index,
        "selector": read.selector,
        "value": read.value,
        "taken": read.taken,
    })
}

fn asked(asked: &crate::canon::explain::Asked) -> Value {
    json!({ "place": asked.place, "matched": asked.matched, "why": asked.why })
}

/// The canonical envelope, with a placeholder for the request id.
pub(super) fn written(profile: &Profile, error: &CanonicalError) -> Value {
    let now = telemetry::timestamp(SystemTime::now());
    let stamp = Stamp {
        request_id: "00000000000000000000000000",
        timestamp: &now,
        provider: Some(profile.name()),
        route: Some("explain"),
        upstream_body: true,
        docs: None,
    };
    serde_json::from_slice(&envelope::canonical(error, &stamp)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_str;
    use crate::explain::{Transport, verdict};

    const OWN: &str = "[[routes]]\nname = 'a'\nmatch = { path = '/a' }\nprovider = 'top'\nupstream = 'https://a.example'\n\
        [providers.base]\nextends = 'elevenlabs'\ncode = '$.reason'\n[providers.base.codes]\nGONE = 'voice_not_found'\n\
        [providers.top]\nextends = 'base'\ncode = ['$.fault.why', 'h:x-why']\n";

    #[tokio::test]
    async fn each_value_has_its_source() {
        let loaded = load_str(&[("own.toml", OWN)], []).expect("a configuration");
        let profile = loaded.profile("top").expect("a profile");
        let answer =
            b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\n\r\n{\"reason\":\"GONE\",\"detail\":\"No.\"}";
        let told = ["one.http", "two.http"].map(|name| name.to_owned());
        let mut all = Vec::new();
        for name in told {
            all.push(Explained { name, verdict: verdict(&profile, Transport::Http, None, answer).await });
        }
        all.push(Explained {
            name: "three".to_owned(),
            verdict: verdict(&profile, Transport::Close, None, b"x").await,
        });
        let document: Value = serde_json::from_str(&document(&profile, &all)).expect("one JSON document");
        let [first, _, third] = document["recordings"].as_array().expect("a list").as_slice() else {
            panic!("three recordings")
        };
        assert!(third["problem"].as_str().is_some_and(|problem| problem.contains("not a close code")));
        assert_eq!(first["envelope"]["error"]["code"], "voice_not_found");
        assert_eq!(first["envelope"]["error"]["upstream"]["code"], "GONE");
        let reads = first["read"].as_array().expect("a list");
        let codes: Vec<&Value> = reads.iter().filter(|read| read["field"] == "code").collect();
        let where_ = |read: &Value| {
            let text = |name: &str| read[name].as_str().unwrap_or_default().to_owned();
            format!("{} {} of {}", text("selector"), read["index"], text("profile"))
        };
        assert_eq!(where_(codes[0]), "$.fault.why 0 of top");
        assert_eq!(where_(codes[1]), "h:x-why 1 of top");
        assert_eq!(where_(codes[2]), "$.reason 0 of base");
        assert!(where_(codes[3]).ends_with("0 of elevenlabs"));
        let taken: Vec<&&Value> = codes.iter().filter(|read| read["taken"] == true).collect();
        assert_eq!((taken.len(), &taken[0]["value"]), (1, &"GONE".into()));
        let asked = first["asked"].as_array().expect("a list");
        let matched: Vec<&str> =
            asked.iter().filter(|asked| asked["matched"] == true).filter_map(|asked| asked["place"].as_str()).collect();
        assert_eq!(matched, ["base codes"]);
    }
}

//! `headers`: fields that are set or removed on the way

use crate::config::path::Path;
use crate::config::problem::Findings;
use crate::config::raw;
use crate::config::types::{Credentials, HeaderChanges, Headers};
use crate::config::values;
use http::HeaderValue;
use std::collections::BTreeMap;

/// `headers`, beside the credentials of the same route.
pub(super) fn headers(
    raw: &raw::Headers,
    credentials: &[Credentials],
    path: &Path,
    findings: &mut Findings,
) -> Headers {
    let short = changes(&raw.set, &raw.remove, path, findings);
    let request = match &raw.request {
        None => short,
        Some(request) => {
            if !raw.set.is_empty() || !raw.remove.is_empty() {
                let what = "stands beside `set` or `remove`, which say the same";
                findings.key(&path.key("request"), what).expected("one of the two");
            }
            changes(&request.set, &request.remove, &path.key("request"), findings)
        }
    };
    let set = request.set.iter().map(|(name, _)| ("set", name));
    for (key, name) in set.chain(request.remove.iter().map(|name| ("remove", name))) {
        if credentials.iter().any(|one| one.header.as_ref() == Some(name)) {
            let at = if raw.request.is_some() { path.key("request") } else { path.clone() };
            let what = format!("the route's credentials stand in `{name}`");
            findings.key(&at.key(key), what).expected("one of the two");
        }
    }
    let response = raw.response.as_ref();
    let response = response.map(|response| changes(&response.set, &response.remove, &path.key("response"), findings));
    Headers { request, response: response.unwrap_or_default() }
}

fn changes(set: &BTreeMap<String, String>, remove: &[String], path: &Path, findings: &mut Findings) -> HeaderChanges {
    let mut changes = HeaderChanges::default();
    for (name, text) in set {
        let here = path.key("set").key(name);
        let named = values::changed_header(name);
        let mut value = match HeaderValue::from_str(text) {
            Ok(value) if text.trim() == text && text.is_ascii() => value,
            _ => {
                let what = "this value cannot be sent in a header";
                findings.value(&here, what).expected("printable ASCII characters without spaces around them");
                continue;
            }
        };
        value.set_sensitive(findings.secrets.contains(&here));
        match named {
            Ok(name) => changes.set.push((name, value)),
            Err(expected) => {
                findings.key(&here, "this header cannot be set").expected(expected);
            }
        }
    }
    for (index, name) in remove.iter().enumerate() {
        match values::changed_header(name) {
            Ok(name) => changes.remove.push(name),
            Err(expected) => {
                findings.not(&path.key("remove").index(index), name, expected);
            }
        }
    }
    changes
}

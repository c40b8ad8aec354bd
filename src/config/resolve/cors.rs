//! `[server.cors]`, and `cors` of routes.

use super::Reader;
use crate::config::defaults::cors as defaults;
use crate::config::path::Path;
use crate::config::problem::Findings;
use crate::config::raw;
use crate::config::types::Cors;
use crate::config::values::{self, Expected};
use http::{HeaderName, HeaderValue, Method};
use std::sync::Arc;

/// The rules of one table.
pub(super) fn cors(raw: &raw::Cors, path: Path, findings: &mut Findings) -> Option<Arc<Cors>> {
    let mut reader = Reader { path, findings };
    let credentials = raw.credentials.unwrap_or(defaults::CREDENTIALS);
    let origins = origins(raw.origins.as_deref()?, credentials, &mut reader);
    let name = |text: &str| {
        text.parse::<HeaderName>().map(|name| name.to_string()).map_err(|_| "the name of a header field".to_owned())
    };
    let method = |text: &str| match text.parse::<Method>() {
        Ok(method) if text == text.to_ascii_uppercase() => Ok(method.to_string()),
        Ok(_) | Err(_) => Err("a method such as `POST`, in capitals".to_owned()),
    };
    let max_age = reader.duration("max_age", raw.max_age.as_ref(), defaults::MAX_AGE);
    Some(Arc::new(Cors {
        origins,
        credentials,
        methods: list(&mut reader, "methods", raw.methods.as_deref(), method),
        headers: list(&mut reader, "headers", raw.headers.as_deref(), name),
        expose: list(&mut reader, "expose", raw.expose.as_deref(), name),
        max_age,
    }))
}

/// The rules of a route, if anybody but its provider makes any.
pub(super) fn of_route(
    raw: Option<&raw::RouteCors>,
    server: Option<&Arc<Cors>>,
    path: Path,
    findings: &mut Findings,
) -> Option<Arc<Cors>> {
    match raw {
        None => server.cloned(),
        Some(raw::RouteCors::Passed(raw::CorsWord::Provider)) => None,
        Some(raw::RouteCors::Own(own)) => cors(own, path, findings),
    }
}

/// None for everybody's.
fn origins(raw: &[String], credentials: bool, reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let path = reader.path.key("origins");
    if raw.is_empty() {
        reader.findings.value(&path, "no origin").expected("`[\"*\"]`, or origins such as `https://app.example.com`");
    }
    for (index, origin) in raw.iter().enumerate() {
        let path = path.index(index);
        match values::origin(origin) {
            Ok(()) if origin == "*" && raw.len() > 1 => {
                reader.findings.value(&path, "`*` stands beside others").expected("`*` alone");
            }
            Ok(()) if origin == "*" && credentials => {
                let what = "with `credentials = true` browsers do not take `*`";
                reader.findings.value(&path, what).expected("the origins themselves");
            }
            Ok(()) => {}
            Err(expected) => {
                let shown = reader.findings.quote(&path, origin);
                reader.findings.value(&path, format!("{shown} is no origin")).expected(expected);
            }
        }
    }
    (raw != ["*"]).then(|| raw.to_vec())
}

/// A list as it stands in a header field; none when nothing is said.
fn list(
    reader: &mut Reader<'_>,
    key: &str,
    raw: Option<&[String]>,
    read: impl Fn(&str) -> Result<String, Expected>,
) -> Option<HeaderValue> {
    let path = reader.path.key(key);
    let mut all = Vec::new();
    for (index, text) in raw?.iter().enumerate() {
        match read(text) {
            Ok(text) => all.push(text),
            Err(expected) => {
                let path = path.index(index);
                let shown = reader.findings.quote(&path, text);
                reader.findings.value(&path, format!("{shown} cannot be used")).expected(expected);
            }
        }
    }
    HeaderValue::try_from(all.join(", ")).ok()
}

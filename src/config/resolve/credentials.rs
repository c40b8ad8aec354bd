//! `credentials`: what is put into requests, where, and how it is spelled there

use super::Reader;
use crate::config::path::Path;
use crate::config::problem::Findings;
use crate::config::raw::{self, PlaceText, SubprotocolText};
use crate::config::secret::Secret;
use crate::config::types::{Credentials, MOST_PLACES, Spellings, SubprotocolPlace};
use crate::config::values::{self, Expected};
use http::HeaderValue;

/// `credentials`: none, one or several.
pub(super) fn credentials(
    raw: Option<&raw::CredentialsList>,
    path: &Path,
    findings: &mut Findings,
) -> Vec<Credentials> {
    let several = match raw {
        None => return Vec::new(),
        Some(raw::CredentialsList::One(raw)) => return credential(raw, path, findings).into_iter().collect(),
        Some(raw::CredentialsList::Many(several)) => several,
    };
    if !(1..=MOST_PLACES).contains(&several.len()) {
        let what = format!("a list of {} cannot be used", several.len());
        findings.value(path, what).expected(format!("a table, or a list of 1 to {MOST_PLACES} tables"));
    }
    let entries = several.iter().enumerate();
    entries.filter_map(|(index, raw)| credential(raw, &path.index(index), findings)).collect()
}

/// One entry; no message quotes the value.
fn credential(raw: &raw::Credentials, path: &Path, findings: &mut Findings) -> Option<Credentials> {
    if raw.header.is_none() && raw.query.is_none() && raw.subprotocol.is_none() && raw.first_message.is_none() {
        let _ = given(raw.value.as_deref(), true, path, findings);
        if !findings.any_within(path) {
            let expected = "`header`, `query`, `subprotocol` or `first_message`, or several of them";
            findings.value(path, "says no place for the value").expected(expected);
        }
        return None;
    }
    let mut place = Places { path, findings };
    let header = place.read("header", raw.header.as_ref(), values::header);
    let query = place.read("query", raw.query.as_ref(), values::parameter);
    let subprotocol = place.subprotocol(raw.subprotocol.as_ref());
    let first_message = place.read("first_message", raw.first_message.as_ref(), values::member);
    let spellings = Spellings {
        header: header.spelling,
        query: query.spelling,
        subprotocol: subprotocol.spelling,
        first_message: first_message.spelling,
    };
    // A place that says nothing of its own has the value that all share.
    let plain = [
        raw.header.is_some() && spellings.header.is_none() && !header.broken,
        raw.query.is_some() && spellings.query.is_none() && !query.broken,
        raw.subprotocol.is_some() && spellings.subprotocol.is_none() && !subprotocol.broken,
        raw.first_message.is_some() && spellings.first_message.is_none() && !first_message.broken,
    ];
    let value = given(raw.value.as_deref(), plain.contains(&true), path, findings)?;
    let in_subprotocol = raw.subprotocol.is_some() && spellings.subprotocol.is_none();
    if let Some(value) = value
        && let Some(expected) = unfit(value, in_subprotocol)
    {
        refuse(&path.key("value"), in_subprotocol, expected, findings);
        return None;
    }
    let first = [&spellings.header, &spellings.query, &spellings.subprotocol, &spellings.first_message];
    let value = match value {
        Some(value) => Secret::new(value.to_owned()),
        None => first.into_iter().flatten().next()?.clone(),
    };
    if header.broken || query.broken || subprotocol.broken || first_message.broken {
        return None;
    }
    Some(Credentials {
        value,
        header: header.at,
        query: query.at,
        subprotocol: subprotocol.at,
        first_message: first_message.at,
        spellings,
    })
}

/// The value that all places share; none when it is missing and `needed`.
fn given<'v>(value: Option<&'v str>, needed: bool, path: &Path, findings: &mut Findings) -> Option<Option<&'v str>> {
    if value.is_none() && needed {
        let here = path.key("value");
        if !findings.any_within(&here) && !findings.any_within(path) {
            findings.key(&here, "missing").expected("a string");
        }
        return None;
    }
    Some(value)
}

/// A place as it was read.
struct Place<T> {
    at: Option<T>,
    spelling: Option<Secret>,
    /// It was given and cannot be used.
    broken: bool,
}

/// Reads the places of one entry.
struct Places<'f> {
    path: &'f Path,
    findings: &'f mut Findings,
}

impl Places<'_> {
    fn read<T>(
        &mut self,
        key: &str,
        raw: Option<&PlaceText>,
        read: impl FnOnce(&str) -> Result<T, Expected>,
    ) -> Place<T> {
        let (name, value, mut reader, key) = match raw {
            None => return Place { at: None, spelling: None, broken: false },
            Some(PlaceText::Name(name)) => {
                (Some(name), None, Reader { path: self.path.clone(), findings: self.findings }, key)
            }
            Some(PlaceText::Spelled(raw)) => {
                let reader = Reader { path: self.path.key(key), findings: self.findings };
                (raw.name.as_ref(), raw.value.as_deref(), reader, "name")
            }
        };
        let at = name.and_then(|name| reader.read(key, Some(name), read));
        let path = reader.path.clone();
        self.spelled(at, value, false, &path)
    }

    fn subprotocol(&mut self, raw: Option<&SubprotocolText>) -> Place<SubprotocolPlace> {
        let path = self.path.key("subprotocol");
        let (at, value) = match raw {
            None => return Place { at: None, spelling: None, broken: false },
            Some(SubprotocolText::Prefix(prefix)) => {
                let mut reader = Reader { path: self.path.clone(), findings: self.findings };
                (reader.read("subprotocol", Some(prefix), values::token).map(SubprotocolPlace::Prefix), None)
            }
            Some(SubprotocolText::Spelled(raw)) => {
                let mut reader = Reader { path: path.clone(), findings: self.findings };
                let prefix = reader.read("prefix", raw.prefix.as_deref(), values::token).map(SubprotocolPlace::Prefix);
                let after = reader.read("after", raw.after.as_deref(), values::token).map(SubprotocolPlace::After);
                if raw.prefix.is_some() == raw.after.is_some() && !reader.findings.any_within(&path) {
                    let what = "says no place, or two of them";
                    reader.findings.value(&path, what).expected("`prefix` or `after`");
                    return Place { at: None, spelling: None, broken: true };
                }
                (prefix.or(after), raw.value.as_deref())
            }
        };
        self.spelled(at, value, true, &path)
    }

    /// A place with what is spelled out in its own table.
    fn spelled<T>(&mut self, at: Option<T>, value: Option<&str>, in_subprotocol: bool, path: &Path) -> Place<T> {
        let mut broken = at.is_none();
        if let Some(expected) = value.and_then(|value| unfit(value, in_subprotocol)) {
            refuse(&path.key("value"), in_subprotocol, expected, self.findings);
            broken = true;
        }
        Place { at, spelling: value.map(|value| Secret::new(value.to_owned())), broken }
    }
}

fn refuse(path: &Path, in_subprotocol: bool, expected: &'static str, findings: &mut Findings) {
    let what = if in_subprotocol { "a subprotocol" } else { "a header" };
    findings.value(path, format!("this value cannot be sent in {what}")).expected(expected);
}

/// What a value that cannot be sent should have been.
fn unfit(value: &str, in_subprotocol: bool) -> Option<&'static str> {
    if value.trim().is_empty() {
        Some("a value that is not empty")
    } else if value.trim() != value {
        Some("a value without spaces or line breaks around it")
    } else if HeaderValue::from_str(value).is_err() {
        Some("a value of printable ASCII characters")
    } else if in_subprotocol && values::token(value).is_err() {
        Some("letters, digits and !#$%&'*+-.^_`|~ only")
    } else {
        None
    }
}

//! Gateway keys out of what goes to a provider, and out of what is shown: wherever one stands, whoever's it is.

use crate::canon::Fault;
use crate::proxy::gateway_key;
use crate::proxy::path::decode;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName};
use std::borrow::Cow;

/// Escapes that are undone one inside the other.
const LEVELS: usize = 5;

const SEPARATORS: [char; 2] = ['&', ';'];

/// Takes every field out that has a key in it, but for those with a name that is kept.
pub(crate) fn strip_fields(headers: &mut HeaderMap, keep: impl Fn(&HeaderName) -> bool) {
    let has_key = |(name, value): &(&HeaderName, &http::HeaderValue)| {
        gateway_key::key_in(value.as_bytes()).is_some() && !keep(name)
    };
    let doomed: Vec<HeaderName> = headers.iter().filter(has_key).map(|(name, _)| name.clone()).collect();
    for name in doomed {
        headers.remove(name);
    }
}

/// A target without the parameters that have a key in them.
///
/// # Errors
/// When one stands in the path: what is left would be another.
pub(crate) fn clean_target(target: PathAndQuery) -> Result<PathAndQuery, Fault> {
    if has_key(target.path()) {
        return Err(Fault::KeyInPath);
    }
    let Some(query) = target.query().filter(|query| has_key(query)) else { return Ok(target) };
    let kept = query.split_inclusive(SEPARATORS).filter(|piece| !has_key(piece));
    let kept = kept.collect::<String>();
    let kept = kept.trim_end_matches(SEPARATORS);
    let mark = if kept.is_empty() { "" } else { "?" };
    PathAndQuery::try_from(format!("{}{mark}{kept}", target.path())).map_err(|_| Fault::BadPath)
}

/// A path, with a query or without, in which stars stand for each segment and each parameter that has a key in it.
pub(crate) fn shown(target: &str) -> Cow<'_, str> {
    const ENDS: [char; 4] = ['/', '?', '&', ';'];
    if !has_key(target) {
        return Cow::Borrowed(target);
    }
    let shown = target.split_inclusive(ENDS).map(|piece| {
        let core = piece.trim_end_matches(ENDS);
        if has_key(core) { format!("***{}", piece.get(core.len()..).unwrap_or_default()) } else { piece.to_owned() }
    });
    Cow::Owned(shown.collect())
}

/// Whether there is a key in a part of a URL, however it is escaped.
pub(crate) fn has_key(text: &str) -> bool {
    let mut current = Cow::Borrowed(text.as_bytes());
    for _ in 0..LEVELS {
        if gateway_key::is_in(&current) {
            return true;
        }
        if !current.contains(&b'%') {
            return false;
        }
        let decoded = decode(&current);
        if *decoded == *current {
            return false;
        }
        current = Cow::Owned(decoded);
    }
    false
}

//! Removes gateway keys from what is sent to a provider or shown: any key, in any place.

use crate::canon::Fault;
use crate::proxy::gateway_key::{self, has_key};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName};
use std::borrow::Cow;

const SEPARATORS: [char; 2] = ['&', ';'];

/// Removes every field that contains a key, except fields with a name that is kept.
pub(crate) fn strip_fields(headers: &mut HeaderMap, keep: impl Fn(&HeaderName) -> bool) {
    let has_key = |(name, value): &(&HeaderName, &http::HeaderValue)| {
        (gateway_key::key_in(value.as_bytes()).is_some() || has_key(value)) && !keep(name)
    };
    let doomed: Vec<HeaderName> = headers.iter().filter(has_key).map(|(name, _)| name.clone()).collect();
    for name in doomed {
        headers.remove(name);
    }
}

/// A target without the parameters that contain a key.
///
/// # Errors
/// When the path contains a key: without it, the path would be another.
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

/// A path, with or without a query, with each segment and parameter redacted that contains a key.
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

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::{ACCEPT, COOKIE, REFERER};

    #[test]
    fn a_key_that_is_escaped_in_a_header_is_taken_out() {
        let key = gateway_key::make().expect("random bytes");
        let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        for written in [key.clone(), key.replace('_', "%5f"), escape(&key), escape(&escape(&key))] {
            let mut headers = HeaderMap::new();
            for (name, value) in
                [(COOKIE, format!("a=b; s={written}")), (REFERER, format!("https://x/?k={written}&b=%zz"))]
            {
                headers.insert(name, HeaderValue::from_str(&value).expect("a value"));
            }
            headers.insert(ACCEPT, HeaderValue::from_static("a%20b%"));
            strip_fields(&mut headers, |_| false);
            assert_eq!(headers.keys().collect::<Vec<_>>(), [ACCEPT], "{written}");
        }
    }
}

//! Normalises the target that a client sent: the path for routing, and the target for the provider.
//!
//! The path that is routed is the path that is forwarded. A path that could mean something else to the provider than to this
//! gateway (dot segments after a second decoding, encoded backslashes, overlong UTF-8) is rejected, not repaired. Everything else
//! is forwarded byte for byte (RFC 9110 7.7): percent-encodings keep their spelling and empty segments are kept.

use crate::canon::Fault;
use http::Uri;
use http::uri::PathAndQuery;
use std::borrow::Cow;

/// Why a path is rejected. To the client every reason is [`Fault::BadPath`]; the log has the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not begin with a slash: `*`, authority-form, nothing at all.
    NotAPath,
    /// A byte that no path may contain raw (RFC 3986 3.3): control, space, backslash, `#`, not ASCII.
    IllegalByte,
    /// A `%` without two hexadecimal digits after it.
    BrokenEscape,
    /// `%00`, also behind further encodings.
    EncodedNul,
    /// `%5c`: a slash to some servers, a letter to others.
    EncodedBackslash,
    /// Bytes that encode an ASCII character in more bytes than UTF-8 needs: `%c0%ae`.
    Overlong,
    /// `..` above the root.
    AboveRoot,
    /// A dot segment with parameters (`..;x`), which some servers strip before they resolve it.
    DotParameters,
    /// Dot segments that only show after decoding slashes or decoding again: `..%2f`, `%252e%252e`.
    HiddenDots,
    /// Encoded more often than anyone does by accident.
    TooDeep,
}

impl From<Refusal> for Fault {
    fn from(_: Refusal) -> Fault {
        Fault::BadPath
    }
}

/// A path that may be routed: absolute, without dot segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normal<'a> {
    /// The path, borrowed when it needed no change.
    pub path: Cow<'a, str>,
    /// The number of leading bytes of `path` that no `..` ever removed. A route's prefix must lie within them.
    pub kept: usize,
    /// The path as read by a server that decodes it and merges slashes; none when that makes no difference. It must lead to the
    /// same route, or the prefix was disguised.
    pub alias: Option<String>,
}

/// Removes dot segments (RFC 3986 5.2.4), including those spelled `%2e`, and rejects ambiguous paths.
///
/// # Errors
/// The first [`Refusal`] that applies.
pub fn normalise(raw: &str) -> Result<Normal<'_>, Refusal> {
    let seen = scan(raw.as_bytes())?;
    let mut normal = Normal { path: Cow::Borrowed(raw), kept: raw.len(), alias: None };
    if seen.dots || seen.percent {
        check_segments(raw)?;
        if raw.split('/').any(|segment| dots(segment) > 0) {
            let (path, kept) = remove_dot_segments(raw)?;
            normal.path = Cow::Owned(path);
            normal.kept = kept;
        }
    }
    if seen.percent || seen.double_slash {
        normal.alias = Some(alias(&normal.path));
    }
    Ok(normal)
}

/// The target for the provider: its base path, then the rest of the path after the route's prefix, then the query.
///
/// `whole` is the client's own target, which is shared rather than copied when nothing changes.
///
/// # Errors
/// [`Fault::BadPath`] when the parts do not make a valid target.
pub fn upstream_target(
    base: &str,
    rest: &str,
    whole: Option<&PathAndQuery>,
    drop_query: &[String],
) -> Result<PathAndQuery, Fault> {
    let given = whole.and_then(PathAndQuery::query);
    let query = given.map(|query| without_parameters(query, drop_query));
    if let (true, Some(whole), None | Some(Cow::Borrowed(_))) = (base.is_empty(), whole, &query)
        && whole.path() == rest
    {
        return Ok(whole.clone());
    }
    let mut target = String::with_capacity(base.len() + rest.len() + 2 + query.as_ref().map_or(0, |query| query.len()));
    target.push_str(base);
    target.push_str(rest);
    if target.is_empty() {
        target.push('/');
    }
    // If the query had nothing but secrets, its question mark is dropped as well; an empty query keeps it.
    if let Some(query) = query.filter(|query| !query.is_empty() || given == Some("")) {
        target.push('?');
        target.push_str(&query);
    }
    PathAndQuery::from_maybe_shared(bytes::Bytes::from(target)).map_err(|_| Fault::BadPath)
}

/// The target with one more parameter, `name=value` as written in a query.
///
/// # Errors
/// [`Fault::BadPath`] when that is no valid target.
pub fn with_parameter(target: &PathAndQuery, pair: &str) -> Result<PathAndQuery, Fault> {
    let separator = match target.query() {
        None => "?",
        Some("") => "",
        Some(_) => "&",
    };
    PathAndQuery::from_maybe_shared(bytes::Bytes::from(format!("{target}{separator}{pair}")))
        .map_err(|_| Fault::BadPath)
}

/// The target with another base path.
pub(crate) fn rebased(target: &Uri, from: &str, to: &str) -> Uri {
    let whole = target.path_and_query().map_or("", PathAndQuery::as_str);
    let rest = whole.strip_prefix(from).unwrap_or(whole);
    // After a bare base path, or at the root, only a slash or a query can follow.
    let rest = if rest.starts_with("/?") && to.len() > 1 { rest.get(1..).unwrap_or_default() } else { rest };
    let slash = if to.is_empty() && !rest.starts_with('/') { "/" } else { "" };
    format!("{to}{slash}{rest}").parse().unwrap_or_else(|_| target.clone())
}

/// The query without the parameters of these names, however the names are encoded; borrowed when there are none.
#[must_use]
pub fn without_parameters<'a>(query: &'a str, names: &[String]) -> Cow<'a, str> {
    // Some servers split at `;` too, so a parameter may hide after one.
    const SEPARATORS: [char; 2] = ['&', ';'];
    let named = |pair: &str| is_one_of(&parameter_name(pair), names);
    if names.is_empty() || !query.split(SEPARATORS).any(named) {
        return Cow::Borrowed(query);
    }
    let mut kept = String::with_capacity(query.len());
    let mut separator = "";
    for piece in query.split_inclusive(SEPARATORS) {
        let pair = piece.trim_end_matches(SEPARATORS);
        if !named(pair) {
            kept.push_str(separator);
            kept.push_str(pair);
            separator = piece.get(pair.len()..).unwrap_or_default();
        } else if !piece.ends_with(SEPARATORS) {
            separator = "";
        } else if piece.ends_with('&') && !separator.is_empty() {
            // A `&` separates parameters for every server.
            separator = "&";
        }
    }
    kept.push_str(separator);
    Cow::Owned(kept)
}

/// The name in `pair` (`name=value` as written in a query) as frameworks read it: with escapes decoded, without the `[…]` of a
/// list and without leading spaces.
pub(crate) fn parameter_name(pair: &str) -> Cow<'_, [u8]> {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name).as_bytes();
    if !name.iter().any(|byte| matches!(byte, b'%' | b'+' | b'[')) {
        return Cow::Borrowed(name);
    }
    let mut name = decode(name);
    let end = name.iter().position(|byte| *byte == b'[').unwrap_or(name.len());
    name.truncate(end);
    let start = name.iter().take_while(|byte| is_space(**byte)).count();
    Cow::Owned(name.split_off(start))
}

/// Whether `name` is one of `names`, ignoring case; some frameworks treat `.` and a space as `_`.
pub(crate) fn is_one_of(name: &[u8], names: &[impl AsRef<str>]) -> bool {
    let same = |(ours, theirs): (&u8, &u8)| {
        theirs.eq_ignore_ascii_case(ours) || *ours == b'_' && (*theirs == b'.' || is_space(*theirs))
    };
    let is = |one: &[u8]| one.len() == name.len() && one.iter().zip(name).all(same);
    names.iter().any(|one| is(one.as_ref().as_bytes()))
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b'+' | b' ')
}

/// What one pass over the bytes found.
struct Seen {
    /// Whether a segment begins with a dot.
    dots: bool,
    /// Whether there is an escape.
    percent: bool,
    /// Whether there is an empty segment before the last.
    double_slash: bool,
}

/// One pass that finds illegal bytes, and whether the path is one of the many that need no closer check.
fn scan(raw: &[u8]) -> Result<Seen, Refusal> {
    if raw.first() != Some(&b'/') {
        return Err(Refusal::NotAPath);
    }
    let mut seen = Seen { dots: false, percent: false, double_slash: false };
    let mut after_slash = false;
    for &byte in raw {
        match byte {
            b'/' => seen.double_slash |= after_slash,
            b'.' => seen.dots |= after_slash,
            b'%' => seen.percent = true,
            0..=b' ' | b'\\' | b'#' | b'?' | 0x7f.. => return Err(Refusal::IllegalByte),
            _ => {}
        }
        after_slash = byte == b'/';
    }
    Ok(seen)
}

/// Rejects escapes that are broken or hide something.
fn check_segments(raw: &str) -> Result<(), Refusal> {
    for segment in raw.split('/') {
        if dots(segment.split(';').next().unwrap_or(segment)) > 0 && segment.contains(';') {
            return Err(Refusal::DotParameters);
        }
        if segment.contains('%') && dots(segment) == 0 {
            check_escapes(segment.as_bytes())?;
            check_hidden(segment.as_bytes())?;
        }
    }
    Ok(())
}

/// Checks the escapes before any decoding.
fn check_escapes(segment: &[u8]) -> Result<(), Refusal> {
    let mut rest = segment;
    while let Some(at) = memchr::memchr(b'%', rest) {
        let Some(&[high, low]) = rest.get(at + 1..at + 3) else { return Err(Refusal::BrokenEscape) };
        let byte = hex_pair(high, low).ok_or(Refusal::BrokenEscape)?;
        if byte == b'\\' {
            return Err(Refusal::EncodedBackslash);
        }
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    Ok(())
}

/// Decodes repeatedly, as a chain of careless servers would, and rejects what must never appear.
///
/// An encoded slash alone is data of the segment (RFC 3986 2.2: `models/large` as one id) and is forwarded unchanged.
fn check_hidden(segment: &[u8]) -> Result<(), Refusal> {
    const LEVELS: usize = 5;
    let mut current = Cow::Borrowed(segment);
    for _ in 0..LEVELS {
        let decoded = decode(&current);
        if decoded == *current {
            return Ok(());
        }
        if decoded.contains(&0) {
            return Err(Refusal::EncodedNul);
        }
        if has_overlong(&decoded) {
            return Err(Refusal::Overlong);
        }
        let mut parts = decoded.split(|byte| matches!(byte, b'/' | b'\\'));
        if parts.any(|part| matches!(part.split(|byte| *byte == b';').next(), Some(b"." | b".."))) {
            return Err(Refusal::HiddenDots);
        }
        current = Cow::Owned(decoded);
    }
    Err(Refusal::TooDeep)
}

/// 1 for `.`, 2 for `..`, in plain and `%2e` spelling (the same by RFC 3986 6.2.2.2); 0 for any other segment.
fn dots(segment: &str) -> usize {
    let mut rest = segment.as_bytes();
    let mut count = 0;
    while !rest.is_empty() {
        rest = match rest {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] if count < 2 => rest,
            _ => return 0,
        };
        count += 1;
    }
    count
}

/// The path without dot segments, and how much of it no `..` ever removed.
fn remove_dot_segments(raw: &str) -> Result<(String, usize), Refusal> {
    let mut path = String::with_capacity(raw.len());
    let mut kept = usize::MAX;
    let mut ends_in_dots = false;
    for segment in raw.split('/').skip(1) {
        let dots = dots(segment);
        ends_in_dots = dots > 0;
        match dots {
            0 => {
                path.push('/');
                path.push_str(segment);
            }
            1 => {}
            _ => {
                let parent = path.rfind('/').ok_or(Refusal::AboveRoot)?;
                path.truncate(parent);
                kept = kept.min(parent);
            }
        }
    }
    // `/a/.` and `/a/b/..` name the directory `/a/`.
    if ends_in_dots {
        path.push('/');
    }
    let kept = kept.min(path.len());
    Ok((path, kept))
}

/// The path decoded once and with doubled slashes merged.
fn alias(path: &str) -> String {
    let mut decoded = decode(path.as_bytes());
    decoded.dedup_by(|next, previous| *next == b'/' && *previous == b'/');
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Replaces every valid escape by its byte; broken ones stay as they are.
pub(crate) fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        if let (b'%', Some((&[high, low], after))) = (first, tail.split_first_chunk())
            && let Some(byte) = hex_pair(high, low)
        {
            decoded.push(byte);
            rest = after;
        } else {
            decoded.push(first);
            rest = tail;
        }
    }
    decoded
}

/// Percent-encodes every byte except the unreserved ones (RFC 3986 2.3).
pub(crate) fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            // Writing to a string does not fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
        encoded
    })
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// Whether UTF-8 sequences occur that are longer than their character needs (RFC 3629 3).
fn has_overlong(bytes: &[u8]) -> bool {
    bytes.contains(&0xc0)
        || bytes.contains(&0xc1)
        || bytes.windows(2).any(|pair| matches!(pair, [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f]))
}

#[cfg(test)]
mod tests;

//! Path templates: `GET /v1/jobs/{id}`, the way profiles and limits name the calls they mean.

use std::fmt;

/// A method and a path with holes.
///
/// `GET /v1/jobs/{id}` · `/v1/jobs/{id}` (any method) · `GET` (any path) · `*` (anything) · `GET /files/{rest...}`
/// (the last hole takes one segment or more) · `/jobs/{id}:cancel` (a hole may have text around it).
///
/// Empty segments do not count, so that a doubled or final slash does not slip past a template, and escapes in the
/// path are decoded before they are compared with the template's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    text: String,
    method: Option<String>,
    /// The prefix of every matching path, apart from doubled slashes and escapes.
    literal: String,
    /// `None` means every path.
    segments: Option<Vec<Segment>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// Exactly this text.
    Text(String),
    /// One segment: something between `before` and `after`.
    Hole { before: String, name: String, after: String },
    /// All that is left, one segment at least.
    Rest { name: String },
}

impl PathTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong, in one sentence.
    pub fn parse(text: &str) -> Result<PathTemplate, String> {
        let trimmed = text.trim();
        let (method, path) = match trimmed.split_once(char::is_whitespace) {
            Some((method, path)) => (method, Some(path.trim_start())),
            None if trimmed.starts_with('/') => ("*", Some(trimmed)),
            None => (trimmed, None),
        };
        let method = match method {
            "*" => None,
            _ if !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') => {
                Some(method.to_owned())
            }
            _ => return Err(format!("`{method}` is not a method; expected `GET /path`, `/path`, `GET` or `*`")),
        };
        let segments = match path {
            None | Some("*") => None,
            Some(path) => Some(parse_segments(path)?),
        };
        let literal = literal(segments.as_deref().unwrap_or_default());
        Ok(PathTemplate { text: trimmed.to_owned(), method, literal, segments })
    }

    /// Whether a request matches.
    #[must_use]
    pub fn matches(&self, method: &str, path: &str) -> bool {
        self.walk(method, path, &mut |_, _| {})
    }

    /// The value of the hole `name`, as written in the path; `None` when the request does not match.
    #[must_use]
    pub fn capture<'p>(&self, method: &str, path: &'p str, name: &str) -> Option<&'p str> {
        let mut found = None;
        let meant = self.walk(method, path, &mut |hole, value| {
            if hole == name {
                found = Some(value);
            }
        });
        if meant { found } else { None }
    }

    /// Every hole's name and value; `None` when the request does not match.
    #[must_use]
    pub fn captures<'t, 'p>(&'t self, method: &str, path: &'p str) -> Option<Vec<(&'t str, &'p str)>> {
        let mut found = Vec::new();
        self.walk(method, path, &mut |hole, value| found.push((hole, value))).then_some(found)
    }

    /// The names of the holes, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().flatten().filter_map(|segment| match segment {
            Segment::Text(_) => None,
            Segment::Hole { name, .. } | Segment::Rest { name } => Some(name.as_str()),
        })
    }

    /// Whether the first byte that differs from the template's text already rules out a match. Most requests are tested against many templates
    /// and match none.
    fn differs_at_once(&self, path: &str) -> bool {
        let differs = self.literal.bytes().zip(path.bytes()).find(|(wanted, given)| wanted != given);
        // A slash may be doubled, an escape may spell what is wanted.
        path.starts_with('/') && differs.is_some_and(|(_, given)| !matches!(given, b'/' | b'%'))
    }

    fn walk<'t, 'p>(&'t self, method: &str, path: &'p str, visit: &mut dyn FnMut(&'t str, &'p str)) -> bool {
        if self.method.as_deref().is_some_and(|wanted| wanted != method) {
            return false;
        }
        let Some(segments) = &self.segments else { return true };
        if self.differs_at_once(path) {
            return false;
        }
        let mut left = path;
        for segment in segments {
            left = left.get(slashes(left)..).unwrap_or_default();
            let (given, after) = left.split_at(left.bytes().position(|byte| byte == b'/').unwrap_or(left.len()));
            if given.is_empty() {
                return false;
            }
            match segment {
                Segment::Text(text) if same_text(given, text) => {}
                Segment::Hole { before, name, after } => match hole(given, before, after) {
                    Some(value) => visit(name, value),
                    None => return false,
                },
                Segment::Rest { name } => {
                    visit(name, left);
                    return true;
                }
                Segment::Text(_) => return false,
            }
            left = after;
        }
        left.bytes().all(|byte| byte == b'/')
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse_segments(path: &str) -> Result<Vec<Segment>, String> {
    if !path.starts_with('/') {
        return Err(format!("`{path}` does not begin with `/`"));
    }
    if path.contains(['?', '#', ' ', '\t']) {
        return Err(format!("`{path}` must be a path alone, without query, fragment or spaces"));
    }
    let mut segments: Vec<Segment> = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if let Some(Segment::Rest { name }) = segments.last() {
            return Err(format!("`{{{name}...}}` takes all that is left, so nothing can follow it"));
        }
        let segment = parse_segment(part)?;
        if let Segment::Hole { name, .. } | Segment::Rest { name } = &segment {
            let twice = segments.iter().any(
                |other| matches!(other, Segment::Hole { name: taken, .. } | Segment::Rest { name: taken } if taken == name),
            );
            if twice {
                return Err(format!("`{{{name}}}` occurs twice"));
            }
        }
        segments.push(segment);
    }
    Ok(segments)
}

/// The text before the first hole, without what could be spelled otherwise.
fn literal(segments: &[Segment]) -> String {
    let mut literal = String::new();
    for segment in segments {
        literal.push('/');
        match segment {
            Segment::Text(text) => literal.push_str(text),
            Segment::Hole { before, .. } => {
                literal.push_str(before);
                break;
            }
            Segment::Rest { .. } => break,
        }
    }
    let end = literal.find('%').unwrap_or(literal.len());
    literal.truncate(end);
    literal
}

fn parse_segment(part: &str) -> Result<Segment, String> {
    let Some((before, tail)) = part.split_once('{') else {
        return if part.contains('}') {
            Err(format!("`{part}` has no `{{`"))
        } else {
            Ok(Segment::Text(part.to_owned()))
        };
    };
    let (inner, after) = tail.split_once('}').ok_or_else(|| format!("`{part}` has no `}}`"))?;
    if [before, inner, after].iter().any(|piece| piece.contains(['{', '}'])) {
        return Err(format!("`{part}`: a segment can hold one `{{name}}`"));
    }
    let (name, rest) = inner.strip_suffix("...").map_or((inner, false), |name| (name, true));
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
        return Err(format!("`{{{inner}}}` is not a name; expected letters, digits, `_` or `-`"));
    }
    match rest {
        true if before.is_empty() && after.is_empty() => Ok(Segment::Rest { name: name.to_owned() }),
        true => Err(format!("`{part}`: `{{{inner}}}` takes whole segments")),
        false => Ok(Segment::Hole { before: before.to_owned(), name: name.to_owned(), after: after.to_owned() }),
    }
}

/// What stands in a hole, when its surroundings are there and something is in it.
fn hole<'p>(given: &'p str, before: &str, after: &str) -> Option<&'p str> {
    let value = given.strip_prefix(before)?.strip_suffix(after)?;
    (!value.is_empty()).then_some(value)
}

/// How many slashes a path begins with.
fn slashes(path: &str) -> usize {
    path.bytes().take_while(|byte| *byte == b'/').count()
}

/// Whether a segment of a path says `text`, escapes decoded.
fn same_text(given: &str, text: &str) -> bool {
    let mut left = given.as_bytes();
    let mut wanted = text.bytes();
    loop {
        let (byte, rest) = match left {
            [] => return wanted.next().is_none(),
            [b'%', high, low, rest @ ..] => match (char::from(*high).to_digit(16), char::from(*low).to_digit(16)) {
                (Some(high), Some(low)) => (high << 4 | low, rest),
                _ => return false,
            },
            [byte, rest @ ..] => (u32::from(*byte), rest),
        };
        if wanted.next().map(u32::from) != Some(byte) {
            return false;
        }
        left = rest;
    }
}

#[cfg(test)]
mod tests;

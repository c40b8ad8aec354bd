//! Path templates: `GET /v1/jobs/{id}`, `/v1/files/{rest...}`, `*`.

/// A method and a path with places for names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    method: Option<Box<str>>,
    /// None stands for every path.
    segments: Option<Vec<Segment>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    Name(Box<str>),
    Rest(Box<str>),
}

impl PathTemplate {
    /// Reads a template: a method, a path, or both.
    ///
    /// # Errors
    /// One sentence on what was expected.
    pub fn parse(text: &str) -> Result<PathTemplate, String> {
        let bad =
            |why: &str| format!("`{text}` is not a path template: {why}; expected for example `GET /v1/jobs/{{id}}`");
        let (method, path) = match text.trim().split_once(char::is_whitespace) {
            Some((method, path)) => (Some(method), path.trim()),
            None if text.trim().starts_with(['/', '*']) => (None, text.trim()),
            None => (Some(text.trim()), "*"),
        };
        if method.is_some_and(|method| method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase())) {
            return Err(bad("the method is written in capital letters"));
        }
        let segments = match path {
            "*" => None,
            _ => {
                let inside = path.strip_prefix('/').ok_or_else(|| bad("the path begins with a slash"))?;
                let segments = inside.split('/').map(Segment::parse).collect::<Option<Vec<_>>>();
                let segments = segments.ok_or_else(|| bad("a name in braces is empty or not closed"))?;
                let rest = segments.iter().position(|segment| matches!(segment, Segment::Rest(_)));
                if rest.is_some_and(|at| at + 1 != segments.len()) {
                    return Err(bad("`{name...}` stands at the end only"));
                }
                Some(segments)
            }
        };
        Ok(PathTemplate { method: method.map(Box::from), segments })
    }

    /// Whether a request is of this template. The query is not part of `path`.
    #[must_use]
    pub fn matches(&self, method: &str, path: &str) -> bool {
        self.walk(method, path, &mut |_, _| {})
    }

    /// What stands in the place of `name`.
    #[must_use]
    pub fn capture<'p>(&self, method: &str, path: &'p str, name: &str) -> Option<&'p str> {
        let mut captured = None;
        let matched = self.walk(method, path, &mut |place, value| {
            if place == name {
                captured = Some(value);
            }
        });
        captured.filter(|_| matched)
    }

    /// The names that the template has places for.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().flatten().filter_map(|segment| match segment {
            Segment::Name(name) | Segment::Rest(name) => Some(&**name),
            Segment::Literal(_) => None,
        })
    }

    fn walk<'p>(&self, method: &str, path: &'p str, found: &mut dyn FnMut(&str, &'p str)) -> bool {
        if self.method.as_deref().is_some_and(|wanted| wanted != method) {
            return false;
        }
        let Some(segments) = &self.segments else { return true };
        let Some(mut rest) = path.strip_prefix('/') else { return false };
        let mut more = true;
        for segment in segments {
            if !more {
                return false;
            }
            let here = rest;
            let (value, behind) = match here.split_once('/') {
                Some((value, behind)) => (value, Some(behind)),
                None => (here, None),
            };
            match segment {
                Segment::Literal(literal) if **literal == *value => {}
                Segment::Name(name) if !value.is_empty() => found(name, value),
                Segment::Rest(name) => {
                    found(name, here);
                    return true;
                }
                Segment::Literal(_) | Segment::Name(_) => return false,
            }
            more = behind.is_some();
            rest = behind.unwrap_or_default();
        }
        // A trailing slash does not make another resource of it.
        !more || rest.is_empty()
    }
}

impl Segment {
    fn parse(text: &str) -> Option<Segment> {
        let Some(name) = text.strip_prefix('{') else { return Some(Segment::Literal(text.into())) };
        let name = name.strip_suffix('}')?;
        let (name, rest) = match name.strip_suffix("...") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let valid = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        valid.then(|| if rest { Segment::Rest(name.into()) } else { Segment::Name(name.into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_match_whole_segments() {
        for (template, method, path, matches) in [
            ("GET /v1/jobs/{id}", "GET", "/v1/jobs/7", true),
            ("GET /v1/jobs/{id}", "GET", "/v1/jobs/7/", true),
            ("GET /v1/jobs/{id}", "POST", "/v1/jobs/7", false),
            ("GET /v1/jobs/{id}", "GET", "/v1/jobs/", false),
            ("GET /v1/jobs/{id}", "GET", "/v1/jobs", false),
            ("GET /v1/jobs/{id}", "GET", "/v1/jobs/7/audio", false),
            ("/v1/{a}/x", "PUT", "/v1/b/x", true),
            ("/v1/{rest...}", "GET", "/v1/a/b/c", true),
            ("POST", "POST", "/anything/at/all", true),
            ("*", "GET", "/", true),
        ] {
            let parsed = PathTemplate::parse(template).expect(template);
            assert_eq!(parsed.matches(method, path), matches, "{template} on {method} {path}");
        }
        for bad in ["get /v1", "GET v1", "GET /v1/{id", "GET /v1/{}", "/{a...}/b", ""] {
            assert!(PathTemplate::parse(bad).is_err(), "{bad}");
        }
        let template = PathTemplate::parse("GET /v1/{kind}/{rest...}").expect("template");
        assert_eq!(template.capture("GET", "/v1/a/b/c", "rest"), Some("b/c"));
        assert_eq!(template.capture("GET", "/v2/a/b/c", "kind"), None);
        assert_eq!(template.names().collect::<Vec<_>>(), ["kind", "rest"]);
    }
}

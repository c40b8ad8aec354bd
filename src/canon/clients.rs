//! Clients that read a provider's own errors: its SDKs, and plugins made for it. `envelope = "auto"` asks.

use super::spec::{ClientSpec, OneOrMany};
use http::header::{HeaderMap, HeaderName, USER_AGENT};
use memchr::memmem::Finder;

/// One kind of client, recognised by what it sends.
#[derive(Debug)]
pub(crate) struct Client {
    /// Substrings of `User-Agent`, one of which must occur; empty matches any.
    agents: Vec<Finder<'static>>,
    /// Header fields that must all be present.
    headers: Vec<HeaderName>,
    /// Query parameters that must all be present.
    query: Vec<String>,
}

impl Client {
    pub(crate) fn compile(at: &str, spec: &ClientSpec, problem: &mut dyn FnMut(String, String)) -> Client {
        let agents = spec.user_agent.as_ref().map(OneOrMany::as_slice).unwrap_or_default();
        if agents.iter().any(String::is_empty) {
            problem(format!("{at}.user_agent"), "expected words; an empty one is in every user agent".to_owned());
        }
        let mut headers = Vec::with_capacity(spec.headers.len());
        for name in &spec.headers {
            match name.parse() {
                Ok(name) => headers.push(name),
                Err(_) => problem(format!("{at}.headers"), format!("`{name}` is no name of a header field")),
            }
        }
        if agents.is_empty() && spec.headers.is_empty() && spec.query.is_empty() {
            problem(at.to_owned(), "fits every client; expected `user_agent`, `headers` or `query`".to_owned());
        }
        let agents = agents.iter().map(|agent| Finder::new(agent.as_bytes()).into_owned()).collect();
        Client { agents, headers, query: spec.query.clone() }
    }

    /// The header fields that this test reads.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &HeaderName> {
        let agent = (!self.agents.is_empty()).then_some(&USER_AGENT);
        agent.into_iter().chain(&self.headers)
    }

    /// Whether a request with these header fields and this query comes from such a client.
    pub(crate) fn fits(&self, headers: &HeaderMap, query: Option<&str>) -> bool {
        let agent = headers.get(USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
        let asks_for = |name: &str| {
            let mut pairs = query.unwrap_or_default().split('&');
            pairs.any(|pair| pair.split('=').next() == Some(name))
        };
        (self.agents.is_empty() || self.agents.iter().any(|word| word.find(agent).is_some()))
            && self.headers.iter().all(|name| headers.contains_key(name))
            && self.query.iter().all(|name| asks_for(name))
    }
}

#[cfg(test)]
mod tests {
    use crate::canon::{Profile, ProfileSpec};
    use http::HeaderMap;

    fn compiled(text: &str) -> Result<Profile, Vec<crate::canon::ProfileProblem>> {
        Profile::compile("x", toml::from_str::<ProfileSpec>(text).expect("a profile's shape"))
    }

    #[test]
    fn a_client_is_known_by_everything_that_its_row_says() {
        let profile = compiled(
            "[[clients]]\nname = 'sdk'\nheaders = ['x-sdk-name', 'x-sdk-version']\n\
             [[clients]]\nname = 'plugin'\nuser_agent = ['aiohttp/', 'websockets/']\nquery = ['model_id', 'auto_mode']\n",
        )
        .expect("a right profile");
        for (fields, query, known) in [
            (&[("x-sdk-name", "a"), ("x-sdk-version", "1")][..], None, true),
            (&[("x-sdk-name", "a")], None, false),
            (&[("user-agent", "Python/3.12 aiohttp/3.14")], Some("model_id=m&auto_mode=true"), true),
            (&[("user-agent", "Python/3.12 websockets/17")], Some("auto_mode&model_id=m"), true),
            (&[("user-agent", "Python/3.12 aiohttp/3.14")], Some("model_id=m&auto_modes=true"), false),
            (&[("user-agent", "curl/8")], Some("model_id=m&auto_mode=true"), false),
            (&[], Some("model_id=m&auto_mode=true"), false),
            (&[], None, false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                let _ = headers.insert(*name, http::HeaderValue::from_static(value));
            }
            assert_eq!(profile.knows_client(&headers, query), known, "{fields:?} {query:?}");
        }
    }

    #[test]
    fn a_row_that_fits_everybody_is_refused() {
        for (row, path) in [
            ("name = 'x'", "clients[0]"),
            ("name = 'x'\nuser_agent = ''", "clients[0].user_agent"),
            ("name = 'x'\nheaders = ['a b']", "clients[0].headers"),
        ] {
            let problems = compiled(&format!("[[clients]]\n{row}\n")).expect_err(row);
            assert_eq!(problems[0].path, path, "{problems:?}");
        }
    }
}

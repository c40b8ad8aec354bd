//! Rewrites the provider's addresses in response fields to addresses of this gateway.

use super::reference::{Reference, below};
use super::{Fields, RouteHeaders};
use crate::wire::urls::Holds;
use http::header::{HeaderMap, HeaderValue, SET_COOKIE};
use http::{Uri, Version};
use std::borrow::Cow;

/// The address of this gateway as the client sees it.
#[derive(Clone, Copy, Debug, Default)]
pub struct PublicAddress<'a> {
    /// The configured URL, which takes precedence over the other two.
    pub url: Option<&'a Uri>,
    /// Whether the client used TLS, to this gateway or to a trusted proxy in front of it.
    pub tls: bool,
    /// The requested host, from [`super::authority`].
    pub authority: Option<&'a str>,
}

impl PublicAddress<'_> {
    /// `https://gateway.example/base`, without a trailing slash; empty when the request named no host.
    pub(crate) fn origin(&self) -> String {
        match (self.url, self.authority) {
            (Some(url), _) => url.to_string().trim_end_matches('/').to_owned(),
            (None, Some(authority)) => format!("{}://{authority}", if self.tls { "https" } else { "http" }),
            (None, None) => String::new(),
        }
    }

    fn path(&self) -> &str {
        self.url.map_or("", |url| url.path().trim_end_matches('/'))
    }
}

/// Everything that the headers of the response to the client depend on.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The version it arrived in.
    pub version: Version,
    /// The route it came by.
    pub route: &'a RouteHeaders,
    /// The upstream that responded.
    pub upstream: usize,
    /// The request's id.
    pub request_id: &'a HeaderValue,
    /// Where rewritten locations point.
    pub public: PublicAddress<'a>,
}

/// Rewrites the addresses in response fields, so that a client that follows one comes through this gateway, and the scope of
/// cookies, so that clients send them here.
pub(super) fn rewrite(headers: &mut HeaderMap, fields: Fields, answer: &Incoming<'_>) {
    if !fields.may_have(Fields::URL | Fields::SET_COOKIE) && !answer.route.has_urls() {
        return;
    }
    for (name, value) in headers.iter_mut() {
        let change = match answer.route.holds(name) {
            Some(Holds::Url) => rewritten,
            Some(Holds::Links) => linked,
            Some(Holds::Refresh) => refreshed,
            None if *name == SET_COOKIE => baked,
            None => continue,
        };
        let changed = value.to_str().ok().and_then(|text| change(text, answer));
        if let Some(changed) = changed.and_then(|text| HeaderValue::try_from(text).ok()) {
            *value = changed;
        }
    }
}

/// `<…>; rel="next", <…>` (RFC 8288 3).
fn linked(links: &str, answer: &Incoming<'_>) -> Option<String> {
    let mut changed = String::with_capacity(links.len());
    let mut rest = links;
    while let Some((before, (target, after))) =
        rest.split_once('<').and_then(|(before, rest)| Some((before, rest.split_once('>')?)))
    {
        let target = rewritten(target, answer).map_or(Cow::Borrowed(target), Cow::Owned);
        changed.extend([before, "<", &target, ">"]);
        rest = after;
    }
    changed.push_str(rest);
    (changed != links).then_some(changed)
}

/// `5; url=…`, `5 /x`, `5, URL = '/x'` and so on, as browsers parse it (HTML, shared declarative refresh steps).
fn refreshed(refresh: &str, answer: &Incoming<'_>) -> Option<String> {
    let (before, rest) = refresh.split_at(refresh.len() - refresh_target(refresh)?.len());
    let quote = rest.chars().next().filter(|char| matches!(char, '"' | '\''));
    let target = quote.map_or(rest, |quote| rest.get(1..).unwrap_or_default().split(quote).next().unwrap_or_default());
    let target = target.trim_matches(|char: char| char <= ' ');
    rewritten(target, answer).map(|target| format!("{before}{target}"))
}

/// The part after the time: the URL, perhaps in quotation marks.
fn refresh_target(refresh: &str) -> Option<&str> {
    let skip = |text: &str| text.len() - text.trim_start_matches(|char: char| char.is_ascii_whitespace()).len();
    let rest = refresh.get(skip(refresh)..)?;
    let behind = rest.trim_start_matches(|char: char| char.is_ascii_digit() || char == '.');
    if behind.len() == rest.len() {
        return None;
    }
    let mark = behind.get(skip(behind)..)?;
    // There must be a separator between the two.
    if mark.len() == behind.len() && !mark.starts_with([';', ',']) {
        return None;
    }
    let mark = mark.strip_prefix([';', ',']).unwrap_or(mark);
    let target = mark.get(skip(mark)..)?;
    let named = target.get(..3).filter(|name| name.eq_ignore_ascii_case("url")).and_then(|_| {
        let behind = target.get(3..)?;
        let behind = behind.get(skip(behind)..)?.strip_prefix('=')?;
        behind.get(skip(behind)..)
    });
    Some(named.unwrap_or(target))
}

/// A cookie for this gateway: without the domain, which is the provider's, and with the path as it is here.
fn baked(cookie: &str, answer: &Incoming<'_>) -> Option<String> {
    // Browsers accept these only with the path `/` (RFC 6265bis 4.1.3.2).
    let for_the_host = cookie.trim_start().starts_with("__Host-");
    let attribute = |part: &'_ str| {
        part.split_once('=').map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    let mut parts = cookie.split(';');
    let mut changed = parts.next()?.to_owned();
    for part in parts {
        match attribute(part) {
            Some((name, _)) if name == "domain" => {}
            Some((name, path)) if name == "path" && !for_the_host => {
                changed.push_str("; Path=");
                changed.push_str(&cookie_path(&path, answer).unwrap_or(path));
            }
            _ => changed.extend([";", part]),
        }
    }
    (changed != cookie).then_some(changed)
}

/// The path at this gateway for a path at the provider; none when no path here leads to it.
fn cookie_path(path: &str, answer: &Incoming<'_>) -> Option<String> {
    let RouteHeaders { upstreams, prefix, .. } = answer.route;
    let base_path = &upstreams.get(answer.upstream)?.base_path;
    let path = path.trim_end_matches('/');
    let rest = match path.strip_prefix(base_path.as_str()) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        // A cookie for a path above the upstream's base applies to the whole route.
        _ if base_path.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')) => "",
        _ => return None,
    };
    let ours = format!("{}{prefix}{rest}", answer.public.path());
    Some(if ours.is_empty() { "/".to_owned() } else { ours })
}

/// The location for clients; none when it is correct already or is not the provider's.
fn rewritten(location: &str, answer: &Incoming<'_>) -> Option<String> {
    let RouteHeaders { upstreams, prefix, .. } = answer.route;
    let answered = upstreams.get(answer.upstream);
    let (origin, rest) = match location.strip_prefix('/') {
        Some(rest) if !rest.starts_with('/') => {
            (answer.public.path().to_owned(), below(location, &answered?.base_path)?)
        }
        _ => {
            let named =
                Reference::of(location).filter(|named| matches!(named.scheme.as_str(), "" | "http" | "https"))?;
            (answer.public.origin(), named.below(upstreams, answered)?)
        }
    };
    let changed = format!("{origin}{prefix}{rest}");
    let changed = if changed.starts_with(['?', '#']) || changed.is_empty() { format!("/{changed}") } else { changed };
    (changed != location).then_some(changed)
}

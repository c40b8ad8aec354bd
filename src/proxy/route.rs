//! Finds the route of a request: by host first, then by the longest prefix on whole segments.
//!
//! A lookup takes one hash for each segment boundary of the path that has the length of some route's prefix, so ten thousand
//! routes cost as much as one.

use super::path::{self, Normal};
use crate::canon::Fault;
use crate::config::types::Route;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// All routes, indexed for lookups.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// Routes with a host, by that host.
    hosts: HashMap<Box<str>, Prefixes>,
    /// Routes without a host.
    any_host: Prefixes,
}

/// A route, and the rest of the path for the provider.
#[derive(Clone, Debug)]
pub struct Routed<'a> {
    /// The route.
    pub route: &'a Arc<Route>,
    /// The normalised path of the request.
    path: Cow<'a, str>,
}

impl Routed<'_> {
    /// The path after the route's prefix: empty, or beginning with a slash.
    #[must_use]
    pub fn rest(&self) -> &str {
        self.path.get(self.route.path.len()..).unwrap_or_default()
    }
}

impl RouteTable {
    /// Builds the table. Of two routes with the same host and prefix the first wins; the configuration rejects them.
    #[must_use]
    pub fn new(routes: &[Arc<Route>]) -> RouteTable {
        let mut table = RouteTable::default();
        for route in routes {
            let prefixes = match &route.host {
                Some(host) => table.hosts.entry(canonical_host(host).into()).or_default(),
                None => &mut table.any_host,
            };
            prefixes.add(route);
        }
        table
    }

    /// The route for a request's host and raw path.
    ///
    /// # Errors
    /// [`Fault::BadPath`] when the path cannot be normalised or leaves or disguises the route's prefix,
    /// [`Fault::RouteNotFound`] when no route matches.
    pub fn resolve<'a>(&'a self, host: Option<&str>, raw_path: &'a str) -> Result<Routed<'a>, Fault> {
        let Normal { path, kept, alias } = path::normalise(raw_path)?;
        let host = if self.hosts.is_empty() { None } else { host.map(canonical_host) };
        let route = self.route(host.as_deref(), &path);
        if let Some(alias) = alias {
            let careless = self.route(host.as_deref(), &alias);
            if careless.map(Arc::as_ptr) != route.map(Arc::as_ptr) {
                return Err(Fault::BadPath);
            }
        }
        let route = route.ok_or(Fault::RouteNotFound)?;
        if route.path.len() > kept {
            return Err(Fault::BadPath);
        }
        Ok(Routed { route, path })
    }

    /// The route for a host (any case, with or without port) and a normalised path, and the rest of the path.
    #[must_use]
    pub fn find<'p>(&self, host: Option<&str>, path: &'p str) -> Option<(&Arc<Route>, &'p str)> {
        let route = self.route(host.map(canonical_host).as_deref(), path)?;
        Some((route, path.get(route.path.len()..).unwrap_or_default()))
    }

    fn route(&self, host: Option<&str>, path: &str) -> Option<&Arc<Route>> {
        let by_host = host.and_then(|host| self.hosts.get(host));
        by_host.and_then(|prefixes| prefixes.longest(path)).or_else(|| self.any_host.longest(path))
    }
}

/// The routes of one host, by prefix.
#[derive(Debug, Default)]
struct Prefixes {
    routes: HashMap<Box<str>, Arc<Route>>,
    /// Whether there is a prefix of this length.
    lengths: Vec<bool>,
}

impl Prefixes {
    fn add(&mut self, route: &Arc<Route>) {
        let length = route.path.len();
        if self.lengths.len() <= length {
            self.lengths.resize(length + 1, false);
        }
        if let Some(there) = self.lengths.get_mut(length) {
            *there = true;
        }
        self.routes.entry(route.path.as_str().into()).or_insert_with(|| Arc::clone(route));
    }

    fn longest(&self, path: &str) -> Option<&Arc<Route>> {
        let longest = self.lengths.len().checked_sub(1)?;
        if let Some(route) = self.exactly(path) {
            return Some(route);
        }
        // A prefix ends where the path has a slash; slashes after the longest prefix do not matter.
        let reach = path.len().min(longest + 1);
        let slashes = memchr::memrchr_iter(b'/', path.as_bytes().get(..reach)?);
        slashes.filter_map(|at| path.get(..at)).find_map(|prefix| self.exactly(prefix))
    }

    fn exactly(&self, prefix: &str) -> Option<&Arc<Route>> {
        if self.lengths.get(prefix.len()) == Some(&true) { self.routes.get(prefix) } else { None }
    }
}

/// The host without its port and final dot, in lower case.
fn canonical_host(host: &str) -> Cow<'_, str> {
    let name = match host.rfind(':') {
        // The colons of an IPv6 literal are inside brackets.
        Some(colon) if !host.get(colon..).is_some_and(|tail| tail.contains(']')) => host.get(..colon).unwrap_or(host),
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests;

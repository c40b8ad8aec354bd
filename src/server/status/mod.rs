//! The status page of the admin listener, and the error reference: whose fault each error is, since when, and what to do.
//!
//! The page is one file with a script and a style, all embedded; its script fetches `document` every second. The data comes from
//! counters (sampled by [`crate::telemetry::history`] on the control thread) and from the journal of errors, so that requests do
//! not pay for it.

mod blame;
mod command;
mod document;
mod reference;
mod routes;
mod tenants;

pub use document::Situation;

use crate::proxy::State;
use crate::telemetry::history::{self, History};
use arc_swap::ArcSwap;
use bytes::Bytes;
use document::{Seen, Sources};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const JSON: &str = "application/json";

const SVG: &str = "image/svg+xml";

/// The files that pages are made of, by name below `/status/`. `uplot/SOURCE` says where the library is from.
const FILES: [(&str, &str, &str); 13] = [
    ("page.css", CSS, include_str!("page.css")),
    ("main.js", SCRIPT, include_str!("main.js")),
    ("view.js", SCRIPT, include_str!("view.js")),
    ("tenants.js", SCRIPT, include_str!("tenants.js")),
    ("errors.js", SCRIPT, include_str!("errors.js")),
    ("codes.js", SCRIPT, include_str!("codes.js")),
    ("plot.js", SCRIPT, include_str!("plot.js")),
    ("words.js", SCRIPT, include_str!("words.js")),
    ("theme.js", SCRIPT, include_str!("theme.js")),
    ("good.svg", SVG, include_str!("good.svg")),
    ("bad.svg", SVG, include_str!("bad.svg")),
    ("uplot.js", SCRIPT, include_str!("uplot/uPlot.iife.min.js")),
    ("uplot.css", CSS, include_str!("uplot/uPlot.min.css")),
];

/// A page, or a file that a page loads.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its media type.
    pub content_type: &'static str,
    /// The whole content.
    pub body: Bytes,
}

/// The sources of the pages.
pub struct Status {
    state: Arc<ArcSwap<State>>,
    situation: Box<dyn Fn() -> Situation + Send + Sync>,
    history: History,
    started: SystemTime,
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status").finish_non_exhaustive()
    }
}

impl Status {
    /// Makes the pages for the gateway with this state.
    #[must_use]
    pub fn new(state: Arc<ArcSwap<State>>, situation: Box<dyn Fn() -> Situation + Send + Sync>) -> Status {
        let now = SystemTime::now();
        let history = History::new(now, state.load().shared.metrics.totals());
        Status { state, situation, history, started: now }
    }

    /// Samples the counters until it is dropped.
    pub async fn sample(&self) {
        let mut steps = tokio::time::interval(history::STEP);
        // After a pause of the whole machine, one sample is enough.
        steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let _ = steps.tick().await;
        loop {
            let _ = steps.tick().await;
            self.history.sample(SystemTime::now(), self.state.load().shared.metrics.totals());
        }
    }

    /// The page at a path; none when there is no such page.
    #[must_use]
    pub fn page(&self, path: &str, query: &str) -> Option<Page> {
        let page = |content_type, text: String| Page { content_type, body: Bytes::from(text) };
        if let Some(name) = path.strip_prefix("/status/") {
            let (_, content_type, text) = FILES.iter().find(|(file, ..)| *file == name)?;
            return Some(Page { content_type, body: Bytes::from_static(text.as_bytes()) });
        }
        match path {
            "/" => Some(Page { content_type: HTML, body: Bytes::from_static(include_bytes!("page.html")) }),
            "/status.json" => Some(page(JSON, self.document(Seen::from_query(query)))),
            "/tenants" => Some(page(JSON, tenants::render(&self.state.load(), SystemTime::now()))),
            "/errors" => Some(page(HTML, reference::index())),
            _ => reference::code(path.strip_prefix("/errors/")?, &self.state.load()).map(|text| page(HTML, text)),
        }
    }

    fn document(&self, seen: Seen) -> String {
        let sources = Sources {
            state: &self.state.load(),
            history: &self.history,
            situation: (self.situation)(),
            started: self.started,
            now: SystemTime::now(),
        };
        document::render(&sources, seen)
    }
}

//! What a provider's code or a rule's match is mapped to.

use super::agreement;
use super::code::Code;
use super::spec::{FullMappingSpec, MappingSpec};
use std::sync::Arc;

/// What a provider's code or a rule's match means.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    /// The canonical code.
    pub code: Code,
    /// The provider's documented answer to whether to retry.
    pub retryable: Option<bool>,
    /// A documented wait in seconds.
    pub retry_after_seconds: Option<f64>,
    /// Whether the code is so general that it decides only where nothing else says more.
    pub catch_all: bool,
    /// Whether it concerns only this request, which is too large for what the account has left.
    pub of_request: bool,
    /// Whether the code means this whatever the status is.
    pub despite_status: bool,
    /// Whether it ends the session or stream.
    pub fatal: Option<bool>,
    /// The message when the provider sends none.
    pub message: Option<String>,
    /// Fixed extras.
    pub details: Vec<(String, String)>,
    /// Where the provider documents it.
    pub doc_url: Option<String>,
    /// The provider's code as a metric label; none for a rule without one.
    pub label: Option<Arc<str>>,
}

impl Mapping {
    /// A code with nothing more to say.
    pub(crate) fn of(code: Code, label: Option<&str>) -> Mapping {
        Mapping {
            code,
            retryable: None,
            retry_after_seconds: None,
            catch_all: false,
            of_request: false,
            despite_status: false,
            fatal: None,
            message: None,
            details: Vec::new(),
            doc_url: None,
            label: label.map(Arc::from),
        }
    }

    /// Whether the code that a table gives this meaning says no more than a status would.
    pub(crate) fn is_vague(&self) -> bool {
        self.catch_all || agreement::is_general(self.code) && !self.despite_status
    }

    /// Whether the row counts as a known code beside this status. A catch-all gives way to stronger evidence.
    pub(crate) fn stands(&self, status: Option<u16>) -> bool {
        !self.catch_all && (self.despite_status || agreement::stands(self.code, status))
    }

    /// Compiles the right side; `label` is the provider's code when there is one.
    pub(crate) fn compile(spec: &MappingSpec, label: Option<&str>) -> Result<Mapping, String> {
        let full = match spec {
            MappingSpec::Full(full) => full,
            MappingSpec::Code(code) => &FullMappingSpec {
                code: code.clone(),
                retryable: None,
                retry_after_seconds: None,
                catch_all: false,
                of_request: false,
                despite_status: false,
                fatal: None,
                message: None,
                details: Default::default(),
                doc_url: None,
            },
        };
        Ok(Mapping {
            code: canonical(&full.code)?,
            retryable: full.retryable,
            retry_after_seconds: full.retry_after_seconds.filter(|wait| wait.is_finite() && *wait >= 0.0),
            catch_all: full.catch_all,
            of_request: full.of_request,
            despite_status: full.despite_status,
            fatal: full.fatal,
            message: full.message.clone(),
            details: full.details.clone().into_iter().collect(),
            doc_url: full.doc_url.clone(),
            label: label.map(Arc::from),
        })
    }
}

fn canonical(name: &str) -> Result<Code, String> {
    Code::from_name(name).ok_or_else(|| {
        let nearest = Code::ROWS
            .iter()
            .map(|row| (strsim::jaro_winkler(name, row.name), row.name))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(likeness, _)| *likeness >= ALIKE);
        match nearest {
            Some((_, nearest)) => format!("`{name}` is not a canonical code; did you mean `{nearest}`?"),
            None => format!("`{name}` is not a canonical code; expected one that `speechgate codes` lists"),
        }
    })
}

/// From here on one word may be a misspelling of another.
const ALIKE: f64 = 0.85;

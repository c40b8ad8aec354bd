//! Where a profile finds the parts of an error: its selectors, by what they find.

use super::problems::Problems;
use super::projection::Projection;
use super::select::Selector;
use super::selectors::Selectors;
use super::spec::{ProfileSpec, SelectorSpec};

/// The selectors, by what they find.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    pub(crate) code: Selectors,
    pub(crate) kind: Selectors,
    pub(crate) title: Selectors,
    pub(crate) message: Selectors,
    pub(crate) status: Selectors,
    pub(crate) close: Selectors,
    pub(crate) request_id: Selectors,
    pub(crate) param: Selectors,
    pub(crate) doc_url: Selectors,
    pub(crate) retry_after: Selectors,
    pub(crate) retryable: Selectors,
    pub(crate) context_id: Selectors,
    pub(crate) done: Selectors,
    pub(crate) details: Vec<(String, Selectors)>,
    pub(crate) validation: Vec<Projection>,
}

impl Fields {
    pub(super) fn compile(spec: &ProfileSpec, problems: &mut Problems) -> Fields {
        let mut all = |key: &str, list: &[SelectorSpec]| {
            list.iter()
                .enumerate()
                .filter_map(|(index, one)| problems.keep(format!("{key}[{index}]"), Selector::compile(one)))
                .collect::<Selectors>()
        };
        let details = spec
            .details
            .iter()
            .map(|(name, list)| (name.clone(), all(&format!("details.{name}"), list.as_slice())))
            .collect();
        let mut fields = Fields {
            code: all("code", &spec.code),
            kind: all("type", &spec.kind),
            title: all("title", &spec.title),
            message: all("message", &spec.message),
            status: all("status", &spec.status),
            close: all("close", &spec.close),
            request_id: all("request_id", &spec.request_id),
            param: all("param", &spec.param),
            doc_url: all("doc_url", &spec.doc_url),
            retry_after: all("retry_after", &spec.retry_after),
            retryable: all("retryable", &spec.retryable),
            context_id: all("context_id", &spec.context_id),
            done: all("done", &spec.done),
            details,
            validation: Vec::new(),
        };
        fields.validation = spec
            .validation
            .iter()
            .enumerate()
            .filter_map(|(index, one)| problems.keep(format!("validation[{index}]"), Projection::compile(one)))
            .collect();
        fields
    }
}

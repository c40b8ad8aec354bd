//! What the generations of a call used, counted for its route and its tenant.

use super::RoutedContext;
use crate::generation::{Record, Usage, meter};

impl RoutedContext {
    /// A generation of the call has ended: what it used is counted, with the price that the configuration has for it.
    pub(crate) fn used(&self, record: &Record) -> Usage {
        let route = &self.route.config;
        let price = self.state.config.prices.of(&route.provider, record.model.as_deref());
        let usage = meter(record, route.profile.charges_failed(), price);
        let tenant = self.caller.as_ref().map_or("", |caller| caller.tenant.name.as_str());
        self.route.metrics.used(tenant, &usage);
        if let Some(ledger) = &self.ledger {
            ledger.ended(record);
        }
        if let Some(limits) = self.caller.as_ref().and_then(|caller| self.state.tenants.limits_of(caller)) {
            limits.used(&usage);
        }
        usage
    }
}

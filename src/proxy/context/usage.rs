//! Counts the usage of a call's generations for its route and its tenant.

use super::RoutedContext;
use crate::generation::{Record, Usage, meter};
use crate::proxy::limits::Denied;
use crate::proxy::tenants::TenantLimits;
use std::sync::Arc;

impl RoutedContext {
    /// Counts the usage of a completed generation, with its configured price.
    pub(crate) fn used(&self, record: &Record) -> Usage {
        let route = &self.route.config;
        let price = self.state.config.prices.of(&route.provider, record.model.as_deref());
        let usage = meter(record, route.profile.charges_failed(), price);
        let tenant = self.tenant.as_ref().map_or("", |identity| identity.tenant.name.as_str());
        self.route.metrics.used(tenant, &usage);
        if let Some(ledger) = &self.ledger {
            ledger.ended(record);
        }
        if let Some(limits) = self.tenant_limits() {
            limits.used(&usage);
        }
        usage
    }

    /// Charges the limits for another generation of this many characters in the call: the budgets of its tenant, and the rates of
    /// its route.
    ///
    /// # Errors
    /// The rejection by a limit; then nothing is charged.
    pub(crate) fn begins(&self, characters: u64) -> Result<(), Denied> {
        if let Some(limits) = self.tenant_limits() {
            limits.goes_on()?;
        }
        self.ledger.as_ref().map_or(Ok(()), |ledger| ledger.begins(characters))
    }

    fn tenant_limits(&self) -> Option<Arc<TenantLimits>> {
        self.tenant.as_ref().and_then(|identity| self.state.shared.tenants.limits_of(identity))
    }
}

//! What the generations of a call used, counted for its route and its tenant.

use super::RoutedContext;
use crate::generation::{Record, Usage, meter};
use crate::proxy::limits::Denied;
use crate::proxy::tenants::TenantLimits;
use std::sync::Arc;

impl RoutedContext {
    /// A generation of the call has ended: what it used is counted, with the price that the configuration has for it.
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

    /// Whether another generation of so much text may begin in the call: its tenant has something left, and its route has room.
    ///
    /// # Errors
    /// The refusal of the limit that has not; then nothing is taken.
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

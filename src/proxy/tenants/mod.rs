//! Tenants: who calls, by the gateway key that came with the call.
//!
//! | file | what is in it |
//! |---|---|
//! | `current` | those in force, and the end of sockets whose key has ended |
//! | `exit` | keys out of bytes that nobody understands here |
//! | `limits` | how many requests a tenant may begin, and how much it may use |
//! | `places` | where a request has its key |
//! | `strip` | keys out of what goes to a provider or is shown |
//! | `view` | what they may use and have used, for metrics and the status page |

mod current;
mod exit;
mod limits;
mod places;
mod strip;
mod view;

pub use current::Current;
pub(crate) use current::{UnknownSocket, Watch};
pub(crate) use exit::{Exit, Passage};
pub use limits::Kept;
pub(crate) use limits::{Begun, TenantLimits};
pub(crate) use places::{OWN, Place, Sent, find};
pub(crate) use strip::{clean_target, shown, strip_fields};
pub use view::{BudgetView, RateView, TenantLimitsView};

use super::gateway_key;
use crate::canon::Fault;
use crate::canon::spec::SecretsSpec;
use crate::config::types::{Config, KeyHash, Tenant, TenantKey};
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderName};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

/// The tenants of a configuration, ready to be asked.
#[derive(Debug, Default)]
pub struct Tenants {
    /// Whether clients have to show a key.
    asks: bool,
    /// Whether there are keys that must go no further: they are kept from providers also where nobody is asked for one.
    guards: bool,
    keys: HashMap<KeyHash, Entry>,
    /// By the names in the certificates of their clients.
    subjects: HashMap<Arc<str>, Arc<Tenant>>,
    /// By their own names, where a header says those.
    names: HashMap<String, Arc<Tenant>>,
    header: Option<HeaderName>,
    /// Headers in which some route's clients may have a key.
    places: HashSet<HeaderName>,
    /// What each tenant may use, in the order of the configuration.
    limits: Vec<Arc<TenantLimits>>,
}

#[derive(Debug)]
struct Entry {
    tenant: Arc<Tenant>,
    expires: Option<SystemTime>,
}

/// Whose a call is.
#[derive(Clone, Debug)]
pub struct TenantIdentity {
    /// The tenant.
    pub tenant: Arc<Tenant>,
    shown: Shown,
}

/// By what a client is known.
#[derive(Clone, Debug)]
enum Shown {
    /// The key with this hash.
    Key(KeyHash),
    /// A certificate with this name.
    Certificate(Arc<str>),
    /// The header in which a trusted peer names it.
    Header,
}

impl TenantIdentity {
    /// Whether both are of one tenant.
    pub(crate) fn is_same(&self, other: &TenantIdentity) -> bool {
        self.tenant.name == other.tenant.name
    }
}

impl Tenants {
    /// Those of a configuration.
    #[must_use]
    pub fn new(config: &Config, current: &Current) -> Tenants {
        let entries = config.tenants.iter().flat_map(|tenant| {
            let entry = |key: &TenantKey| (key.hash, Entry { tenant: Arc::clone(tenant), expires: key.expires });
            tenant.keys.iter().map(entry)
        });
        let subjects = config
            .tenants
            .iter()
            .flat_map(|tenant| tenant.subjects.iter().map(|subject| (Arc::from(subject.as_str()), Arc::clone(tenant))));
        let names = config.tenants.iter().map(|tenant| (tenant.name.clone(), Arc::clone(tenant)));
        let header = config.server.tenant_header.clone();
        let mut places = HashSet::from([OWN, AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL]);
        for route in &config.routes {
            let SecretsSpec { headers, .. } = &route.profile.spec().secrets;
            places.extend(headers.iter().filter_map(|name| name.parse::<HeaderName>().ok()));
            places.extend(route.credentials.iter().filter_map(|one| one.header.clone()));
        }
        Tenants {
            asks: config.server.authenticate,
            guards: config.server.authenticate || !config.tenants.is_empty(),
            keys: entries.collect(),
            subjects: subjects.collect(),
            names: names.filter(|_| header.is_some()).collect(),
            header,
            places,
            limits: current.limits(&config.tenants),
        }
    }

    /// What the tenant of a client may use.
    pub(crate) fn limits_of(&self, identity: &TenantIdentity) -> Option<&Arc<TenantLimits>> {
        self.limits.get(identity.tenant.index)
    }

    /// Whether clients have to show a key.
    #[must_use]
    pub fn ask(&self) -> bool {
        self.asks
    }

    /// Whether there are keys that must go no further.
    #[must_use]
    pub fn guard(&self) -> bool {
        self.guards
    }

    /// Whether this is a key of the configuration, whatever it opens.
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.keys.contains_key(&gateway_key::hash(key))
    }

    /// Whose key this is, on a route.
    ///
    /// # Errors
    /// Why it opens nothing: it is nobody's, it has ended, or the route is not for its tenant.
    pub fn admit(&self, key: &[u8], route: &str, now: SystemTime) -> Result<TenantIdentity, Fault> {
        let key = gateway_key::hash(key);
        let entry = self.keys.get(&key).ok_or(Fault::KeyUnknown)?;
        let identity = TenantIdentity { tenant: Arc::clone(&entry.tenant), shown: Shown::Key(key) };
        self.still(&identity, route, now).map(|()| identity)
    }

    /// Whom the certificate of a client names, and the header of a trusted peer.
    ///
    /// # Errors
    /// When they name somebody who is not there, or different tenants.
    pub(crate) fn named(&self, headers: &HeaderMap, subjects: &[String]) -> Result<Option<TenantIdentity>, Fault> {
        let by_certificate = subjects.iter().filter_map(|subject| self.subjects.get_key_value(subject.as_str()));
        let mut named = by_certificate
            .map(|(name, tenant)| TenantIdentity {
                tenant: Arc::clone(tenant),
                shown: Shown::Certificate(Arc::clone(name)),
            })
            .collect::<Vec<_>>();
        for value in self.header.iter().flat_map(|name| headers.get_all(name)) {
            let name = value.to_str().map(str::trim).unwrap_or_default();
            let tenant = self.names.get(name).ok_or(Fault::TenantUnknown)?;
            named.push(TenantIdentity { tenant: Arc::clone(tenant), shown: Shown::Header });
        }
        let mut named = named.into_iter();
        let Some(first) = named.next() else { return Ok(None) };
        match named.all(|other| other.is_same(&first)) {
            true => Ok(Some(first)),
            false => Err(Fault::TenantConflict),
        }
    }

    /// Whether who was admitted once would be now.
    ///
    /// # Errors
    /// Why not.
    pub fn still(&self, identity: &TenantIdentity, route: &str, now: SystemTime) -> Result<(), Fault> {
        if !self.asks {
            return Ok(());
        }
        let tenant = match &identity.shown {
            Shown::Key(key) => {
                let entry = self.keys.get(key).ok_or(Fault::KeyUnknown)?;
                if entry.expires.is_some_and(|end| end <= now) {
                    return Err(Fault::KeyExpired);
                }
                Some(&entry.tenant)
            }
            Shown::Certificate(name) => self.subjects.get(name),
            Shown::Header => self.names.get(&identity.tenant.name),
        };
        let tenant = tenant.filter(|tenant| tenant.name == identity.tenant.name).ok_or(Fault::KeyUnknown)?;
        if tenant.may_use(route) { Ok(()) } else { Err(Fault::RouteForbidden) }
    }

    /// When the key of a client ends.
    fn end_of(&self, identity: &TenantIdentity) -> Option<SystemTime> {
        match &identity.shown {
            Shown::Key(key) => self.keys.get(key)?.expires,
            Shown::Certificate(_) | Shown::Header => None,
        }
    }

    /// Whether a header of this name is a place of keys on some route: elsewhere one is out of place before anybody looks.
    pub(crate) fn is_place(&self, name: &HeaderName) -> bool {
        self.places.contains(name)
    }
}

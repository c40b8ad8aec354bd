//! The values that rules compare, read out of an observation once per profile.

use std::borrow::Cow;

/// What one profile's selectors find.
#[derive(Debug, Default)]
pub(crate) struct Extracted<'e> {
    /// The provider's code.
    pub(crate) code: Option<Cow<'e, str>>,
    /// Title and message.
    pub(crate) title: Option<Cow<'e, str>>,
    pub(crate) message: Option<Cow<'e, str>>,
    /// Status on the wire, or found inside when that one is missing or 2xx.
    pub(crate) status: Option<u16>,
    /// The same, as far as it can say no: none beside a code that means the same on any status.
    pub(crate) heard: Option<u16>,
    /// Close code on the wire, or found inside.
    pub(crate) close: Option<u16>,
}

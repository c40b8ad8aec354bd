//! The upstreams and accounts of a route: which are usable, what is remembered of them, and when to retry. Independent of any
//! context: a request is represented by its outcome alone.

mod accounts;
mod checks;
mod health;
pub mod policy;
mod turns;

pub(crate) use accounts::AccountGuard;
pub use accounts::AccountView;
pub(super) use checks::{Checked, Streak, bit};
pub(super) use health::Chosen;
pub(crate) use health::RouteHealth;
pub(crate) use health::UpstreamPass;
pub use health::{RouteHealthView, UpstreamView};
pub(super) use policy::{is_broken, is_refused_account, may_help_elsewhere, was_never_sent};

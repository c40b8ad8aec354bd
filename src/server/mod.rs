//! Listeners, connections, drain, admin.

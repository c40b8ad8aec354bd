//! One request, from routed to answered.

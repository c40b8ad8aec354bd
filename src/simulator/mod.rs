//! Five providers in their own dialects.

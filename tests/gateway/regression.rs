//! One test for each fixed bug, named after what was seen.

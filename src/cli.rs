//! The command line: serve, demo, check, explain, codes, schema.

//! The speechgate command.

fn main() {}

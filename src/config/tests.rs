//! The configuration as a whole: texts in, problem lines or values out.

use super::*;

#[test]
fn example() {
    let (text, valid) = check_report(&[PathBuf::from("config/gateway.toml")], []);
    println!("{}", text);
    assert!(valid);
}

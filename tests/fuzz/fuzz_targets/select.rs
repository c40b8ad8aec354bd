//! Any path into any JSON: what is found is part of it, and the same every time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use speechgate::canon::Path;

fuzz_target!(|text: &str| {
    let Some((path, json)) = text.split_once('\n') else { return };
    let Ok(path) = Path::parse(path) else { return };
    let Ok(tree) = serde_json::from_str::<Value>(json) else { return };
    let Some(found) = path.walk(&tree) else { return };
    assert_eq!(path.walk(&tree), Some(found));
    assert!(contains(&tree, found), "{found} is not part of {tree}");
});

/// Whether `part` is `tree` or inside it.
fn contains(tree: &Value, part: &Value) -> bool {
    std::ptr::eq(tree, part)
        || match tree {
            Value::Array(items) => items.iter().any(|item| contains(item, part)),
            Value::Object(map) => map.values().any(|item| contains(item, part)),
            _ => false,
        }
}

//! Any path into any JSON: what is found is part of it, and the same every time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use speechgate::canon::{Json, Path};

fuzz_target!(|text: &str| {
    let Some((path, json)) = text.split_once('\n') else { return };
    let Ok(path) = Path::parse(path) else { return };
    let Ok(tree) = serde_json::from_str::<Json<'_>>(json) else { return };
    let Some(found) = path.walk(&tree) else { return };
    assert_eq!(path.walk(&tree), Some(found));
    assert!(contains(&tree, found), "{found:?} is not part of {tree:?}");
});

/// Whether `part` is `tree` or inside it.
fn contains(tree: &Json<'_>, part: &Json<'_>) -> bool {
    std::ptr::eq(tree, part)
        || match tree {
            Json::List(items) => items.iter().any(|item| contains(item, part)),
            Json::Object(members) => members.iter().any(|(_, item)| contains(item, part)),
            _ => false,
        }
}

//! Any text as a configuration: it loads, or every problem says where and what; and it shows no secret either way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use speechgate::config::load_str;

const SECRET: &str = "s3cret-5f2d9c";

fuzz_target!(|text: &str| {
    // `${file:…}` would read this machine's files.
    if text.contains("file:") || text.contains("ca_file") || text.contains(SECRET) {
        return;
    }
    let environment = [("SPEECHGATE_TEST_KEY".to_owned(), SECRET.to_owned())];
    match load_str(&[("gateway.toml", text)], environment) {
        Ok(loaded) => {
            assert!(!loaded.redacted.contains(SECRET), "{}", loaded.redacted);
            assert!(!format!("{:?}", loaded.config).contains(SECRET));
            assert!(serde_json::from_str::<serde_json::Value>(&loaded.redacted).is_ok());
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            let lines = text.lines().count() + 1;
            for problem in problems {
                assert!(!problem.what.is_empty());
                assert!(problem.line <= lines, "line {} of {lines}: {problem}", problem.line);
                assert!(
                    problem.line > 0 || !problem.path.is_empty() || problem.file.is_empty() || text.trim().is_empty(),
                    "{problem:?}"
                );
                assert!(!problem.to_string().contains(SECRET), "{problem}");
            }
        }
    }
});

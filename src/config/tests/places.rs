//! A problem names its place: the line of a file, a variable, a file.

use super::*;

#[test]
fn problems_show_the_line_with_a_caret() {
    let text = format!("{ROUTE}\ttimeouts = {{ conect = '3s' }} # three\n");
    let problems = load_str(&[("t.toml", &text)], []).expect_err("a misspelt key");
    let expected = "t.toml:7:15: routes[0].timeouts.conect: unknown key; did you mean `connect`?\n \
                    7 |  timeouts = { conect …\n   |               ^^^^^^";
    assert_eq!(problems.first().map(ToString::to_string).as_deref(), Some(expected));
}

#[test]
fn problems_of_the_environment() {
    for (name, value, expected) in [
        (
            "SPEECHGATE__SERVER__LISTN",
            "127.0.0.1:1",
            "environment variable SPEECHGATE__SERVER__LISTN: server.listn: unknown key; did you mean `listen`?",
        ),
        (
            "SPEECHGATE__SERVER__WORKERS",
            "many",
            "environment variable SPEECHGATE__SERVER__WORKERS: server.workers: a string cannot stand here; expected a whole number",
        ),
        (
            "SPEECHGATE__ROUTES__0__UPSTREAM",
            "nowhere",
            "environment variable SPEECHGATE__ROUTES__0__UPSTREAM: routes[0].upstream: `nowhere` cannot be used; expected a URL \
             such as `https://api.example.com`",
        ),
        (
            "SPEECHGATE__ROUTES__5000__NAME",
            "x",
            "environment variable SPEECHGATE__ROUTES__5000__NAME: the index is too large; expected at most 999",
        ),
        (
            "SPEECHGATE__SERVER____LISTEN",
            "x",
            "environment variable SPEECHGATE__SERVER____LISTEN: not a key path; expected names between `__`",
        ),
        ("SPEECHGATE__", "x", "environment variable SPEECHGATE__: not a key path; expected names between `__`"),
    ] {
        assert_eq!(problems(ROUTE, &[(name, value)]), [expected], "{name}");
    }
    let gap = problems(ROUTE, &[("SPEECHGATE__ROUTES__2__NAME", "x")]);
    assert!(gap.iter().any(|line| line.contains("routes[1]: is empty")), "{gap:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem() {
    let (report, valid) = check_report(&[PathBuf::from("does/not/exist.toml")], [], Missing::IsAProblem);
    assert!(!valid);
    assert_eq!(report, "does/not/exist.toml: the file does not exist\n1 problem found\n");
}

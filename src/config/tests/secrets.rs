//! What is filled in: where it is missing, and that no problem repeats it.

use super::*;

#[test]
fn what_cannot_be_filled_in_is_a_problem_of_its_place() {
    for (value, expected) in [
        (
            "${NOT_SET}",
            "the environment variable `NOT_SET` is not set; expected a value in the environment, or `--no-secrets` to check without",
        ),
        ("${file:/does/not/exist}", "the file `/does/not/exist` does not exist"),
        ("${file:/}", "the file `/` is a directory"),
        ("${", "`${` without `}`; expected `${NAME}` or `${file:/path}`; `$${` stands for itself"),
        ("${a b}", "`${a b}` names nothing; expected `${NAME}` or `${file:/path}`; `$${` stands for itself"),
        ("${}", "`${}` names nothing; expected `${NAME}` or `${file:/path}`; `$${` stands for itself"),
    ] {
        let text = format!("{ROUTE}credentials = {{ header = 'x-k', value = '{value}' }}\n");
        let first = problems(&text, &[]).into_iter().next();
        assert_eq!(first, Some(format!("t.toml:7:41: routes[0].credentials.value: {expected}")), "{value}");
    }
}

/// Wherever a secret stands, and whatever is wrong there, no problem repeats it.
#[test]
fn no_problem_repeats_a_secret() {
    const SECRET: &str = "sk-live-abc123";
    for line in [
        "credentials = { header = 'x-k', value = \"SECRET\\u0000\" }",
        "credentials = { header = 'x-k', value = \" SECRET\" }",
        "credentials = { header = 'x y', value = 'SECRET' }",
        "credentials = { header = 'x-k', valu = 'SECRET' }",
        "credentials = { value = 'SECRET', header = 'x y' }",
        "credentials = { value = 'SECRET', haeder = 'x-k' }",
        "credentials = { query = 'a b', value = 'SECRET' }",
        "credentials = { subprotocol = 't.', value = 'SECRET SECRET' }",
        "credentials = { first_message = 'k', value = \"SECRET\\u0000\" }",
        "credentials = { value = 'SECRET' }",
        "credentials = 'SECRET'",
        "credentials = ['SECRET']",
        "credentials = [{ header = 'x-k', value = \" SECRET\" }]",
        "credentials = [{ header = 'x-k', valu = 'SECRET' }]",
        "[[routes.credentials]]\nheader = 'x y'\nvalue = 'SECRET'",
        "credential = { header = 'x-k', value = 'SECRET' }",
        "apikey = 'SECRET'",
        "xyz = 'SECRET'",
        "value = SECRET",
        "value = 'SECRET",
        "value = '''\nSECRET",
        "value = \"\"\"\nSECRET \\q\n\"\"\"",
        "xyz = SECRET",
        "[routes.credentials]\nvalu = 'SECRET'",
        "[routes.credentials]\nheader = 'x-k'\nvalue = '''\n SECRET'''",
        "credentials = { header = 'x-k', value = ' ${KEY}' }",
        "credentials = { header = '${KEY} x', value = 'a' }",
        "envelope = '${KEY}'",
        "timeouts = { idle = '${KEY}' }",
        "rate_limits = [{ requests = 1, per = '1s', match = '${KEY}', key = '${KEY}', code = '${KEY}' }]",
        "retry = { on = ['${KEY}'], budget = '${KEY}' }",
        "upstream_tls = { ca = '${KEY}' }",
        "[limits]\nbackend = 'http://:SECRET@x'",
        "[server]\npublic_url = 'https://u:SECRET@example.com'",
        "[server]\nlisten = '${KEY}'\ntls = { certificate = '${KEY}', private_key = '${KEY}' }",
        "[telemetry]\notlp = { endpoint = 'http://u:SECRET@x' }",
        "[providers.acme]\nextends = '${KEY}'",
    ] {
        let text = format!("{ROUTE}{}\n", line.replace("SECRET", SECRET));
        let Err(problems) = load_str(&[("t", &text)], environment(&[("KEY", SECRET)])) else { panic!("valid: {line}") };
        for problem in problems {
            let shown = format!("{problem}\n{problem:?}");
            assert!(!shown.contains(SECRET), "{line}: {shown}");
        }
    }
}

#[test]
fn a_key_file_is_not_a_certificate() {
    let folder = example_files();
    let key = folder.path().join("tls.key");
    let text = format!("[server.tls]\ncertificate = '{0}'\nprivate_key = '{0}'\n{ROUTE}", key.display());
    let lines = problems(&text, &[]);
    let expected = format!(
        "t.toml:2:15: server.tls.certificate: the file `{}` holds nothing of the kind; expected a PEM file with a block of `CERTIFICATE`",
        key.display()
    );
    assert_eq!(lines, [expected]);
}

/// A machine that has no production keys can look at the configuration all the same.
#[test]
fn missing_secrets_are_only_warned_of_where_that_was_asked_for() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("t.toml");
    let text = format!(
        "{}credentials = {{ header = 'x-k', value = '${{NOT_SET}}' }}\nmax_request_body = '${{SIZE}}'\n",
        ROUTE.replace("https://api.example.com", "https://${HOST}")
    );
    std::fs::write(&file, &text).expect("written");
    let files = [file.clone()];
    assert!(load(&files, []).is_err());
    let loaded = load_without_secrets(&files, []).unwrap_or_else(|problems| panic!("{problems:?}"));
    let warned: Vec<String> =
        loaded.warnings.iter().map(|warning| format!("{}: {}", warning.path, warning.what)).collect();
    let missing = |path: &str, name: &str| {
        format!("{path}: the environment variable `{name}` is not set; only what does not depend on it was checked")
    };
    assert_eq!(
        warned,
        [
            missing("routes[0].upstream", "HOST"),
            missing("routes[0].credentials.value", "NOT_SET"),
            missing("routes[0].max_request_body", "SIZE")
        ]
    );
    // What has nothing to do with a secret is a problem as ever.
    std::fs::write(&file, text.replace("path = \"/tts\"", "path = \"tts\"")).expect("written");
    let problems = load_without_secrets(&files, []).expect_err("a problem");
    assert_eq!(problems.len(), 1, "{problems:?}");
}

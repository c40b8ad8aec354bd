//! Templates and the calls they mean.

use super::*;
use proptest::prelude::*;

#[test]
fn templates_match_what_they_say() {
    for (template, method, path, expected) in [
        ("GET /v1/jobs/{id}", "GET", "/v1/jobs/7", Some(vec![("id", "7")])),
        ("GET /v1/jobs/{id}", "POST", "/v1/jobs/7", None),
        ("GET /v1/jobs/{id}", "GET", "/v1/jobs", None),
        ("GET /v1/jobs/{id}", "GET", "/v1/jobs/7/audio", None),
        ("GET /v1/jobs/{id}", "GET", "/v1/jobs/7/", Some(vec![("id", "7")])),
        ("GET /v1/jobs/{id}", "GET", "//v1//jobs/7", Some(vec![("id", "7")])),
        ("GET /v1/jobs/{id}", "GET", "/v1/%6Aobs/a%20b", Some(vec![("id", "a%20b")])),
        ("GET /v1/jobs/{id}", "GET", "/v1/%6Zobs/7", None),
        ("/v1/jobs", "DELETE", "/v1/jobs", Some(vec![])),
        ("GET", "GET", "/anything", Some(vec![])),
        ("GET *", "GET", "/anything", Some(vec![])),
        ("GET", "HEAD", "/anything", None),
        ("*", "PUT", "/", Some(vec![])),
        ("* /x", "PUT", "/x", Some(vec![])),
        ("/", "GET", "/", Some(vec![])),
        ("/", "GET", "/x", None),
        ("/f/{rest...}", "GET", "/f/a/b/c", Some(vec![("rest", "a/b/c")])),
        ("/f/{rest...}", "GET", "/f/a", Some(vec![("rest", "a")])),
        ("/f/{rest...}", "GET", "/f/", None),
        ("/{a}/x/{b}", "GET", "/1/x/2", Some(vec![("a", "1"), ("b", "2")])),
        ("/v1//jobs/", "GET", "/v1/jobs", Some(vec![])),
        ("/v1/jobs", "GET", "v1/jobs", Some(vec![])),
        ("/100%/x", "GET", "/100%25/x", Some(vec![])),
        ("/100%/x", "GET", "/100%26/x", None),
        ("/jobs/x{id}", "GET", "/jobs/y7", None),
        ("/jobs/x{id}", "GET", "/jobs//x7", Some(vec![("id", "7")])),
        ("/jobs/{id}:cancel", "POST", "/jobs/9:cancel", Some(vec![("id", "9")])),
        ("/jobs/{id}:cancel", "POST", "/jobs/:cancel", None),
    ] {
        let parsed = PathTemplate::parse(template).expect(template);
        assert_eq!(parsed.captures(method, path), expected, "{template} on {method} {path}");
        assert_eq!(parsed.matches(method, path), expected.is_some(), "{template} on {method} {path}");
        for (name, value) in expected.iter().flatten() {
            assert_eq!(parsed.capture(method, path, name), Some(*value));
        }
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for template in [
        "",
        "get /x",
        "GET x",
        "GET /{}",
        "GET /{a}{b}",
        "GET /{a",
        "GET /a}",
        "/{r...}/x",
        "/a{r...}",
        "/{a}/{a}",
        "/{a b}",
        "/x?y",
    ] {
        assert!(PathTemplate::parse(template).is_err(), "{template}");
    }
}

proptest! {
    #[test]
    fn a_path_matches_itself_and_gives_back_its_holes(
        parts in prop::collection::vec(("[a-z0-9.~-]{1,8}", any::<bool>()), 1..6)
    ) {
        let path: String = parts.iter().map(|(text, _)| format!("/{text}")).collect();
        let template: String = parts
            .iter()
            .enumerate()
            .map(|(at, (text, hole))| if *hole { format!("/{{h{at}}}") } else { format!("/{text}") })
            .collect();
        let template = PathTemplate::parse(&template).expect("a template");
        let captures = template.captures("GET", &path).expect("a match");
        let wanted: Vec<&str> = parts.iter().filter(|(_, hole)| *hole).map(|(text, _)| text.as_str()).collect();
        prop_assert_eq!(captures.iter().map(|(_, value)| *value).collect::<Vec<_>>(), wanted);
        let longer = format!("{path}/more");
        prop_assert!(!template.matches("GET", &longer));
    }
}

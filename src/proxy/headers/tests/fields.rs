//! Which fields are there is known without looking for each.

use super::*;
use crate::proxy::headers::fields::HOP_BY_HOP;

/// The fields that are asked for by name, and what stands for each.
const ASKED_FOR: [(HeaderName, Fields); 17] = [
    (header::ACCEPT, Fields::ACCEPT),
    (header::AUTHORIZATION, Fields::AUTHORIZATION),
    (header::CONNECTION, Fields::CONNECTION),
    (header::CONTENT_LENGTH, Fields::CONTENT_LENGTH),
    (header::COOKIE, Fields::COOKIE),
    (header::FORWARDED, Fields::FORWARDED),
    (header::LOCATION, Fields::URL),
    (header::TRANSFER_ENCODING, Fields::TRANSFER_ENCODING),
    (header::UPGRADE, Fields::UPGRADE),
    (header::VIA, Fields::VIA),
    (FORWARDED_FOR, Fields::FORWARDED_FOR),
    (HeaderName::from_static("x-forwarded-host"), Fields::FORWARDED_HOST),
    (HeaderName::from_static("x-forwarded-proto"), Fields::FORWARDED_PROTO),
    (HeaderName::from_static("x-speechgate-priority"), Fields::PRIORITY),
    (REQUEST_ID, Fields::REQUEST_ID),
    (TRACEPARENT, Fields::TRACEPARENT),
    (HeaderName::from_static("tracestate"), Fields::TRACESTATE),
];

/// The table of what this proxy removes has a bit for each name; what every hop removes is listed once, in `wire`.
#[test]
fn connection_specific_fields_are_removed_both_ways() {
    for name in &crate::wire::hop::CONNECTION_SPECIFIC {
        let field = Fields::named(name);
        for removed in [Fields::OF_THE_HOP, Fields::OF_THE_ANSWERS_HOP] {
            assert_eq!(field.among(removed).hop_by_hop().collect::<Vec<_>>(), [name]);
        }
    }
}

#[test]
fn every_name_has_its_own_place_among_the_fields() {
    let mut given = Vec::from(ASKED_FOR);
    for name in &HOP_BY_HOP {
        let field = Fields::named(name);
        assert_eq!(field.hop_by_hop().collect::<Vec<_>>(), [name]);
        if !given.iter().any(|(there, _)| there == name) {
            given.push((name.clone(), field));
        }
    }
    for (name, field) in &given {
        // Names are written in any case.
        let shouted = HeaderName::from_bytes(name.as_str().to_ascii_uppercase().as_bytes()).expect("a name");
        assert_eq!(Fields::named(&shouted), *field, "{name}");
        let same = given.iter().filter(|(_, other)| other.may_have(*field)).count();
        assert_eq!(same, 1, "{name}");
        assert!(!field.may_have(Fields::REPEATED), "{name}");
    }
}

proptest! {
    /// A field that is there is never missed, however many others are there and however often it is.
    #[test]
    fn fields_that_are_there_are_seen(given in prop::collection::vec(0..ASKED_FOR.len() + 3, 0..12)) {
        let name = |at: &usize| match ASKED_FOR.get(*at) {
            Some((name, _)) => name.as_str().to_owned(),
            None => format!("x-other-{at}"),
        };
        let given: Vec<String> = given.iter().map(|at| format!("{}: a", name(at))).collect();
        let headers = map(&given.iter().map(String::as_str).collect::<Vec<_>>());
        let fields = Fields::of(&headers);
        for (name, field) in ASKED_FOR {
            prop_assert_eq!(fields.may_have(field), headers.contains_key(&name), "{}", name);
            prop_assert_eq!(fields.repeat(&headers, name.clone()), headers.get_all(&name).iter().count() > 1, "{}", name);
        }
    }
}

//! The client's first text messages: injects the route's credentials into the first message if they belong there, removes the
//! client's own keys, and remembers those, so that no error shows them if the provider echoes them.
//!
//! Pure: a message in, a message out. Unchanged members keep their bytes.

use crate::proxy::gateway_key;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, to_string};
use std::fmt;

/// How many text messages are checked for keys: sockets with several contexts carry one in the first message of each.
const LOOKED_AT: u8 = 16;

/// Most keys that are remembered for one socket.
const REMEMBERED: usize = 32;

/// What the client's first text messages are inspected for.
#[derive(Debug)]
pub(super) struct FirstMessages {
    /// Members that carry keys.
    secrets: Vec<String>,
    /// Whether the client's own keys are removed.
    taken_out: bool,
    /// Whether the next message has to carry the route's credentials.
    injects: bool,
    left: u8,
    remembered: usize,
    /// Whether clients have gateway keys, which must never be forwarded.
    guards: bool,
    /// The credential that replaces the gateway key in the first message.
    exchanged: Option<String>,
}

/// The result of inspecting a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Opened {
    /// The message to forward instead; `None` when the original is forwarded.
    pub(super) replaced: Option<Vec<u8>>,
    /// The keys in it.
    pub(super) secrets: Vec<String>,
    /// Whether the forwarded message has a key.
    pub(super) keyed: bool,
}

/// A message that has to carry the route's credentials but has no place for them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit;

impl FirstMessages {
    /// `secrets` are the members that carry keys; `replaced` says whether the route has credentials of its own.
    pub(super) fn new(secrets: &[String], replaced: bool, injects: bool) -> FirstMessages {
        let left = if secrets.is_empty() && !injects { 0 } else { LOOKED_AT };
        let (secrets, taken_out) = (secrets.to_vec(), replaced);
        FirstMessages { secrets, taken_out, injects, left, remembered: 0, guards: false, exchanged: None }
    }

    /// Also replaces the gateway key that the client showed in one of these members of its first message.
    pub(super) fn exchanging(mut self, members: Vec<String>, ours: Option<&str>) -> FirstMessages {
        self.secrets.extend(members);
        FirstMessages { exchanged: ours.map(str::to_owned), left: LOOKED_AT, ..self }
    }

    /// Sets whether gateway keys are removed.
    pub(super) fn guarding(self, guards: bool) -> FirstMessages {
        FirstMessages { guards, ..self }
    }

    /// Whether no further message is inspected.
    pub(super) fn sees_nothing(&self) -> bool {
        self.is_over() && !self.guards
    }

    /// Selects the messages to inspect: all of the first ones, and later those that may contain a gateway key.
    pub(super) fn sees(&self) -> impl Fn(&[u8]) -> bool + use<> {
        let (over, guards) = (self.is_over(), self.guards);
        move |text| !over || guards && (gateway_key::is_in(text) || has_escaped_ascii(text))
    }

    /// A message without gateway keys; none when it contains none, or there are no gateway keys at all.
    pub(super) fn without_gateway_keys(&self, text: &[u8]) -> Option<Vec<u8>> {
        if !self.guards {
            return None;
        }
        let mut left = text.to_vec();
        while let Some(key) = gateway_key::find(&left) {
            left.drain(key);
        }
        // A key with escapes is found after they are decoded.
        let mut tree = has_escaped_ascii(&left).then(|| serde_json::from_slice::<Value>(&left).ok()).flatten();
        if tree.as_mut().is_some_and(take_keys) {
            return serde_json::to_vec(&tree).ok();
        }
        (left.len() < text.len()).then_some(left)
    }

    /// Whether the next message has to be inspected, whatever it is.
    pub(super) fn injects(&self) -> bool {
        self.injects
    }

    /// Whether nothing is left to inspect.
    pub(super) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Inspects a text message; `member` is the name and value to inject into the first one.
    ///
    /// # Errors
    /// When the first message is not a JSON object, so that nothing can be injected.
    pub(super) fn message(&mut self, text: &[u8], member: Option<(&str, &str)>) -> Result<Opened, Unfit> {
        self.left = self.left.saturating_sub(1);
        let member = member.filter(|_| std::mem::take(&mut self.injects));
        let exchanged = self.exchanged.take().filter(|_| member.is_none());
        let Some(members) = members(text) else {
            return match member {
                Some(_) => Err(Unfit),
                None => Ok(Opened { replaced: self.without_gateway_keys(text), ..Opened::default() }),
            };
        };
        let mut secrets = Vec::new();
        if let Ok(tree) = serde_json::from_slice(text) {
            self.find(&tree, &mut secrets);
        }
        secrets.truncate(REMEMBERED - self.remembered);
        self.remembered += secrets.len();
        let goes = |name: &str| {
            self.taken_out && self.secrets.iter().any(|secret| secret == name)
                || member.is_some_and(|(member, _)| member == name)
        };
        let changes = member.is_some() || members.iter().any(|(name, _)| goes(name));
        let replaced = changes.then(|| {
            let kept = members.iter().filter_map(|(name, value)| match (goes(name), &exchanged) {
                (false, _) => Some(format!("{}:{}", quoted(name), value.get())),
                (true, None) => None,
                (true, Some(ours)) => Some(format!("{}:{}", quoted(name), quoted(&exchange(value, ours)?))),
            });
            let put_in = member.iter().map(|(name, value)| format!("{}:{}", quoted(name), quoted(value)));
            format!("{{{}}}", kept.chain(put_in).collect::<Vec<_>>().join(",")).into_bytes()
        });
        let keyed = member.is_some() || exchanged.is_some() || !self.taken_out && !secrets.is_empty();
        let without = self.without_gateway_keys(replaced.as_deref().unwrap_or(text));
        Ok(Opened { replaced: without.or(replaced), secrets, keyed })
    }

    /// Collects the texts of all members that carry keys, however deep they are.
    fn find(&self, tree: &Value, found: &mut Vec<String>) {
        match tree {
            Value::Object(members) => {
                for (name, value) in members {
                    match value {
                        Value::String(text) if self.secrets.iter().any(|secret| secret == name) => {
                            found.push(text.clone());
                        }
                        value => self.find(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.find(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// A text with the gateway key in it replaced; none when there is none.
fn exchange(value: &RawValue, ours: &str) -> Option<String> {
    let mut text: String = serde_json::from_str(value.get()).ok()?;
    let key = gateway_key::find(text.as_bytes())?;
    text.replace_range(key, ours);
    Some(text)
}

/// Whether an ASCII letter is escaped, which regular writers do not do.
fn has_escaped_ascii(text: &[u8]) -> bool {
    memchr::memmem::find_iter(text, b"\\u00")
        .any(|at| text.get(at + 4).is_some_and(|digit| (b'2'..=b'7').contains(digit)))
}

/// Removes gateway keys from all strings and member names. Returns whether there were any.
fn take_keys(tree: &mut Value) -> bool {
    let clean = |text: &mut String| {
        let Some(key) = gateway_key::find(text.as_bytes()) else { return false };
        text.replace_range(key, "");
        true
    };
    match tree {
        Value::String(text) => clean(text),
        Value::Array(items) => items.iter_mut().fold(false, |any, item| take_keys(item) | any),
        Value::Object(members) => {
            let before = members.len();
            members.retain(|name, _| !gateway_key::is_in(name.as_bytes()));
            let any = members.len() < before;
            members.values_mut().fold(any, |any, value| take_keys(value) | any)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn quoted(text: &str) -> String {
    // A string can always be written as JSON.
    to_string(text).unwrap_or_default()
}

/// The members of a JSON object, unparsed and including repeated ones; none when it is not an object.
fn members(text: &[u8]) -> Option<Vec<(String, &RawValue)>> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let members = json.deserialize_map(Members).ok()?;
    json.end().ok().map(|()| members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secrets() -> Vec<String> {
        ["xi_api_key", "authorization"].map(str::to_owned).to_vec()
    }

    fn opened(
        replaces: bool,
        member: Option<(&str, &str)>,
        text: &str,
    ) -> Result<(Option<String>, Vec<String>), Unfit> {
        let mut first_messages = FirstMessages::new(&secrets(), replaces, member.is_some());
        let opened = first_messages.message(text.as_bytes(), member)?;
        Ok((opened.replaced.map(|text| String::from_utf8(text).expect("UTF-8")), opened.secrets))
    }

    #[test]
    fn the_first_message_carries_the_route_s_key_and_not_the_client_s() {
        let key = Some(("xi_api_key", "sk-\"1"));
        for (text, sent, found) in [
            (r#"{}"#, r#"{"xi_api_key":"sk-\"1"}"#, &[][..]),
            (r#" { "text" : " ", "n":1.10 }"#, r#"{"text":" ","n":1.10,"xi_api_key":"sk-\"1"}"#, &[]),
            (r#"{"xi_api_key":"own","text":"€"}"#, r#"{"text":"€","xi_api_key":"sk-\"1"}"#, &["own"]),
            (r#"{"xi_api_key":"a","xi\u005fapi_key":"b"}"#, r#"{"xi_api_key":"sk-\"1"}"#, &["b"]),
            (r#"{"authorization":"Bearer own"}"#, r#"{"xi_api_key":"sk-\"1"}"#, &["Bearer own"]),
            (r#"{"a":{"xi_api_key":"deep"}}"#, r#"{"a":{"xi_api_key":"deep"},"xi_api_key":"sk-\"1"}"#, &["deep"]),
        ] {
            let found = found.iter().map(|&one| one.to_owned()).collect();
            assert_eq!(opened(true, key, text), Ok((Some(sent.to_owned()), found)), "{text}");
        }
        for unfit in ["", "hello", "[1]", "\"x\"", "{", "{} {}", "{'a':1}", "null"] {
            assert_eq!(opened(true, key, unfit), Err(Unfit), "{unfit}");
        }
    }

    #[test]
    fn a_client_s_own_key_is_remembered_and_goes_where_the_route_has_one() {
        let text = r#"{"text":"x","xi_api_key":"own"}"#;
        assert_eq!(opened(false, None, text), Ok((None, vec!["own".to_owned()])));
        assert_eq!(opened(true, None, text), Ok((Some(r#"{"text":"x"}"#.to_owned()), vec!["own".to_owned()])));
        assert_eq!(opened(true, None, r#"{"text":"xi_api_key"}"#), Ok((None, vec![])));
        assert_eq!(opened(true, None, "hello"), Ok((None, vec![])));
    }

    #[test]
    fn only_the_first_messages_are_looked_at_and_only_the_first_is_changed() {
        let mut first_messages = FirstMessages::new(&secrets(), true, true);
        let member = Some(("xi_api_key", "sk"));
        for number in 0..LOOKED_AT {
            assert!(!first_messages.is_over());
            let opened = first_messages.message(b"{}", member).expect("an object");
            assert_eq!(opened.replaced.is_some(), number == 0);
        }
        assert!(first_messages.is_over());
        assert!(FirstMessages::new(&[], true, false).is_over());
    }

    #[test]
    fn no_gateway_key_goes_on_however_deep_and_late_it_is() {
        let key = format!("sg_{}", "a1B2".repeat(11));
        let escaped = key.replace("sg_", "s\\u0067_");
        let mut first_messages = FirstMessages::new(&secrets(), true, false).guarding(true);
        for number in 0..40 {
            for (text, sent) in [
                (r#"{"text":"x"}"#.to_owned(), None),
                (r#"{"text":"\u00e9 x"}"#.to_owned(), None),
                (
                    format!(r#"{{"a":{{"xi_api_key":"Bearer {key}"}},"n":1.10}}"#),
                    Some(r#"{"a":{"xi_api_key":"Bearer "},"n":1.10}"#),
                ),
                (format!(r#"{{"other":"{key}{key}"}}"#), Some(r#"{"other":""}"#)),
                (format!(r#"{{"deep":["{escaped}"]}}"#), Some(r#"{"deep":[""]}"#)),
                (format!("[\"{key}\"]"), Some("[\"\"]")),
            ] {
                let seen = first_messages.sees()(text.as_bytes());
                let replaced = match first_messages.is_over() {
                    true => first_messages.without_gateway_keys(text.as_bytes()),
                    false => first_messages.message(text.as_bytes(), None).expect("any message").replaced,
                };
                let replaced = replaced.map(|sent| String::from_utf8(sent).expect("UTF-8"));
                assert_eq!(replaced.as_deref(), sent, "{number}: {text}");
                assert!(seen || sent.is_none(), "{number}: {text}");
            }
        }
        assert!(first_messages.is_over() && !first_messages.sees_nothing());
        assert!(!first_messages.sees()(br#"{"text":"x"}"#));
    }

    proptest! {
        #[test]
        fn what_stays_keeps_its_value(value in "[ -~]{0,20}", name in "[a-z]{1,6}") {
            let tree = serde_json::json!({ name.clone(): value, "xi_api_key": "own" });
            let (sent, _) = opened(true, Some(("xi_api_key", "sk")), &tree.to_string()).expect("an object");
            let sent: Value = serde_json::from_str(&sent.expect("changed")).expect("JSON");
            prop_assert_eq!(&sent[&name], &tree[&name]);
            prop_assert_eq!(&sent["xi_api_key"], "sk");
        }
    }
}

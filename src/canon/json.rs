//! JSON as selectors walk it: strings borrow from the body unless they have escapes, and looking up a member that
//! does not exist usually costs one bit test.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// Objects with at most this many members are searched linearly; larger ones have an index.
const FEW: usize = 32;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string, escapes decoded.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Json<'a>>),
    /// An object.
    Object(Box<Members<'a>>),
}

/// The members of an object in order. Of duplicates the last value counts, at the position of the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members<'a> {
    list: Vec<(Cow<'a, str>, Json<'a>)>,
    /// One bit for each name that occurs.
    bits: u64,
    /// Index by name for large objects; else empty.
    index: HashMap<Cow<'a, str>, usize>,
}

/// A name with its bit, for repeated look-ups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    text: Box<str>,
    bit: u64,
}

impl Name {
    pub(crate) fn new(text: &str) -> Name {
        Name { text: text.into(), bit: bit(text) }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn bit(&self) -> u64 {
        self.bit
    }
}

/// The bit of a name, from its length and its first and last letter, which the names of one body seldom share.
pub(crate) fn bit(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let ends = (bytes.first().copied().unwrap_or_default(), bytes.last().copied().unwrap_or_default());
    1 << ((usize::from(ends.0) * 5 + usize::from(ends.1) * 11 + bytes.len()) % 64)
}

impl<'a> Json<'a> {
    /// The text, when it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::List(_) | Json::Object(_) => None,
        }
    }

    /// A string, number or boolean as conditions compare it; `None` for null and empty strings.
    pub(crate) fn scalar(&self) -> Option<Cow<'_, str>> {
        let text = match self {
            Json::Text(text) => Cow::Borrowed(text.trim()),
            Json::Number(number) => Cow::Owned(number.to_string()),
            Json::Bool(truth) => Cow::Borrowed(if *truth { "true" } else { "false" }),
            Json::Null | Json::List(_) | Json::Object(_) => return None,
        };
        (!text.is_empty()).then_some(text)
    }

    /// The entries, when it is a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Json<'a>]> {
        match self {
            Json::List(list) => Some(list),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::Object(_) => None,
        }
    }

    /// The entries of a list, or the values of an object's members.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Json<'a>> {
        let (list, members) = match self {
            Json::List(list) => (list.as_slice(), None),
            Json::Object(members) => (&[][..], Some(members)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => (&[][..], None),
        };
        list.iter().chain(members.into_iter().flat_map(|members| members.list.iter().map(|(_, value)| value)))
    }

    /// The bits of its members' names.
    pub(crate) fn bits(&self) -> u64 {
        match self {
            Json::Object(members) => members.bits,
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::List(_) => 0,
        }
    }

    /// The member of this name, when it is an object that has one.
    pub(crate) fn member(&self, name: &Name) -> Option<&Json<'a>> {
        match self {
            Json::Object(members) => members.find(&name.text, name.bit),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::List(_) => None,
        }
    }

    /// The same with owned strings.
    pub(crate) fn into_owned(self) -> Json<'static> {
        match self {
            Json::Null => Json::Null,
            Json::Bool(truth) => Json::Bool(truth),
            Json::Number(number) => Json::Number(number),
            Json::Text(text) => Json::Text(Cow::Owned(text.into_owned())),
            Json::List(list) => Json::List(list.into_iter().map(Json::into_owned).collect()),
            Json::Object(members) => {
                let mut owned = Members::default();
                let list = members.list.into_iter();
                list.for_each(|(name, value)| owned.insert(Cow::Owned(name.into_owned()), value.into_owned()));
                Json::Object(Box::new(owned))
            }
        }
    }

    /// The same as an owned, mutable value.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Json::Null => Value::Null,
            Json::Bool(truth) => Value::Bool(*truth),
            Json::Number(number) => Value::Number(number.clone()),
            Json::Text(text) => Value::String(text.to_string()),
            Json::List(list) => Value::Array(list.iter().map(Json::to_value).collect()),
            Json::Object(members) => Value::Object(members.to_map()),
        }
    }
}

impl<'a> Members<'a> {
    /// Every member, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.list.iter().map(|(name, value)| (&**name, value))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The same as an owned, mutable map.
    #[must_use]
    pub fn to_map(&self) -> Map<String, Value> {
        self.iter().map(|(name, value)| (name.to_owned(), value.to_value())).collect()
    }

    /// The member of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.find(name, bit(name))
    }

    fn find(&self, name: &str, bit: u64) -> Option<&Json<'a>> {
        self.list.get(self.place(name, bit)?).map(|(_, value)| value)
    }

    fn place(&self, name: &str, bit: u64) -> Option<usize> {
        if self.bits & bit == 0 {
            return None;
        }
        if self.list.len() > FEW {
            return self.index.get(name).copied();
        }
        self.list.iter().position(|(known, _)| known == name)
    }

    pub(crate) fn insert(&mut self, name: Cow<'a, str>, value: Json<'a>) {
        let bit = bit(&name);
        let next = self.list.len();
        let place = if next > FEW {
            *self.index.entry(name.clone()).or_insert(next)
        } else {
            self.place(&name, bit).unwrap_or(next)
        };
        if let Some((_, earlier)) = self.list.get_mut(place) {
            *earlier = value;
            return;
        }
        self.bits |= bit;
        self.list.push((name, value));
        if next == FEW {
            self.index = self.list.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json<'a>, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

/// Builds the tree.
struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json<'de>, E> {
        Ok(Number::from_f64(number).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Json<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            list.push(entry);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json<'de>, A::Error> {
        let mut members = Members::default();
        while let Some(MemberName(name)) = entries.next_key()? {
            members.insert(name, entries.next_value()?);
        }
        Ok(Json::Object(Box::new(members)))
    }
}

/// A member's name, borrowed where it can be; serde copies a bare `Cow`.
struct MemberName<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for MemberName<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MemberName<'a>, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = MemberName<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E>(self, name: &str) -> Result<MemberName<'de>, E> {
                Ok(MemberName(Cow::Owned(name.to_owned())))
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<MemberName<'de>, E> {
                Ok(MemberName(Cow::Borrowed(name)))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_what_serde_json_reads() {
        let many: Vec<String> = (0..100).map(|number| format!("\"name{}\":{number}", number % 70)).collect();
        for text in [
            r#"{"a":[1,-2,3.5,true,false,null,"x\n\u00e9",{}],"b":{"c":"d","c":"e"},"":0,"a":7}"#,
            "[]",
            "\"text\"",
            "1e3",
            &format!("{{{}}}", many.join(",")),
        ] {
            let value: Value = serde_json::from_str(text).expect("JSON");
            let json: Json<'_> = serde_json::from_str(text).expect("JSON");
            assert_eq!(json.to_value(), value);
            assert_eq!(json.to_value().to_string(), value.to_string());
            assert_eq!(json.clone().into_owned(), json);
            if let (Json::Object(members), Value::Object(map)) = (&json, &value) {
                for (name, value) in map {
                    assert_eq!(members.get(name).map(Json::to_value).as_ref(), Some(value));
                    assert_eq!(json.member(&Name::new(name)), members.get(name));
                }
                assert_eq!(members.get("name"), None);
            }
        }
    }

    #[test]
    fn plain_texts_are_not_copied() {
        let json: Json<'_> = serde_json::from_str(r#"["plain","esc\u0061ped"]"#).expect("JSON");
        let kinds: Vec<bool> =
            json.as_list().expect("a list").iter().map(|entry| matches!(entry, Json::Text(Cow::Borrowed(_)))).collect();
        assert_eq!(kinds, [true, false]);
    }
}

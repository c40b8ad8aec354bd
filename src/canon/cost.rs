//! How many characters of text a request has, for plans that count them.

use super::json::Json;
use super::path::Path;
use super::spec::{CharacterUnit, CostSpec};
use std::iter::Sum;

/// Where the text of a request body is: `$.text`, or `$.inputs[*].text` for every entry of a list.
#[derive(Debug)]
pub(crate) struct TextPath {
    place: Path,
    /// The place within each entry of the list that `place` leads to.
    within: Option<Path>,
}

impl TextPath {
    pub(crate) fn parse(text: &str) -> Result<TextPath, String> {
        let Some((list, entry)) = text.split_once("[*]") else {
            return Ok(TextPath { place: Path::parse(text)?, within: None });
        };
        if entry.contains("[*]") {
            return Err(format!("`{text}` goes through two lists; expected at most one `[*]`"));
        }
        Ok(TextPath { place: Path::parse(list)?, within: Some(Path::parse(&format!("${entry}"))?) })
    }

    fn text(&self, counting: Counting, body: &Json<'_>) -> Text {
        let Some(found) = self.place.walk(body) else { return Text::default() };
        let of = |value| Text::of(counting, value);
        match &self.within {
            None => of(found),
            Some(within) => {
                let entries = found.as_list().unwrap_or_default();
                entries.iter().filter_map(|entry| within.walk(entry)).map(of).sum()
            }
        }
    }
}

/// How a provider counts characters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counting {
    unit: CharacterUnit,
    /// Tags of markup count.
    tags: bool,
    /// As how many characters an ideograph counts.
    ideographs: u64,
}

impl Counting {
    pub(crate) fn of(spec: &CostSpec) -> Counting {
        Counting {
            unit: spec.characters.unwrap_or_default(),
            tags: spec.tags.unwrap_or(true),
            ideographs: u64::from(spec.ideographs.unwrap_or(1)),
        }
    }

    /// The characters of a text.
    fn count(self, text: &str) -> u64 {
        if self.tags && self.ideographs == 1 {
            return match self.unit {
                CharacterUnit::Scalars => text.chars().count() as u64,
                CharacterUnit::Utf16 => text.encode_utf16().count() as u64,
                CharacterUnit::Bytes => text.len() as u64,
            };
        }
        let (mut total, mut inside) = (0, false);
        // No tag ends after the last `>`. Found once, because a text may be full of `<`.
        let last = if self.tags { None } else { text.rfind('>') };
        for (at, char) in text.char_indices() {
            if !self.tags
                && (inside || last.is_some_and(|last| at < last) && begins_tag(text.get(at..).unwrap_or_default()))
            {
                inside = char != '>';
                continue;
            }
            total += match self.unit {
                CharacterUnit::Scalars if is_ideograph(char) => self.ideographs,
                CharacterUnit::Scalars => 1,
                CharacterUnit::Utf16 => char.len_utf16() as u64,
                CharacterUnit::Bytes => char.len_utf8() as u64,
            };
        }
        total
    }
}

/// Whether this `<` can begin a tag (`<break/>`, `</speak>`), as opposed to `a < b`.
fn begins_tag(text: &str) -> bool {
    let Some(name) = text.strip_prefix('<') else { return false };
    let name = name.strip_prefix('/').unwrap_or(name);
    name.starts_with(|char: char| char.is_alphabetic())
}

/// Whether it is a character of Chinese, Japanese or Korean that providers count as more than one: kanji, kana, hangul.
fn is_ideograph(char: char) -> bool {
    matches!(char, '\u{1100}'..='\u{11ff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// How much text there is, and whether there is anything in it to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Characters as the provider counts them, escapes decoded; Unicode scalar values unless its profile says otherwise.
    pub characters: u64,
    /// There is a letter or a digit in it: of punctuation alone nobody need hear anything.
    pub spoken: bool,
}

impl Text {
    fn of(counting: Counting, value: &Json<'_>) -> Text {
        let text = value.as_text().unwrap_or_default();
        Text { characters: counting.count(text), spoken: text.chars().any(char::is_alphanumeric) }
    }
}

impl Sum for Text {
    fn sum<I: Iterator<Item = Text>>(all: I) -> Text {
        all.fold(Text::default(), |sum, one| Text {
            characters: sum.characters + one.characters,
            spoken: sum.spoken || one.spoken,
        })
    }
}

/// All texts of a body or a message.
pub(crate) fn text(paths: &[TextPath], counting: Counting, body: &Json<'_>) -> Text {
    paths.iter().map(|path| path.text(counting, body)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted_in_characters() {
        let paths: Vec<TextPath> =
            ["$.text", "$.inputs[*].text", "$.deep.list[*]"].map(|path| TextPath::parse(path).expect("a path")).into();
        for (body, expected) in [
            (r#"{"text":"Grüße \u00e9 \ud83c\udf99"}"#, 9),
            (r#"{"text":"","inputs":[{"text":"ab"},{"voice":"x"},{"text":"cde"}]}"#, 5),
            (r#"{"text":7,"inputs":{"text":"ab"}}"#, 0),
            (r#"{"deep":{"list":["a","bc",{"text":"no"}]}}"#, 3),
            (r#"["text"]"#, 0),
        ] {
            let tree: Json<'_> = serde_json::from_str(body).expect("JSON");
            assert_eq!(text(&paths, Counting::of(&CostSpec::default()), &tree).characters, expected, "{body}");
        }
        for wrong in ["text", "$.a[*].b[*]", "$..a", "$.a[*]b"] {
            assert!(TextPath::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_text_full_of_beginnings_of_tags_takes_no_longer_than_any_other() {
        let spec: CostSpec = toml::from_str("tags = false").expect("a table");
        // Otherwise each of a million `<` would scan the rest of the text.
        for (text, expected) in [("<a".repeat(1 << 20), 2 << 20), ("<a".repeat(1 << 20) + ">", 0)] {
            assert_eq!(Counting::of(&spec).count(&text), expected);
        }
    }

    #[test]
    fn characters_are_counted_as_the_provider_does() {
        let spec = |text: &str| toml::from_str::<CostSpec>(text).expect("a table");
        for (counting, text, expected) in [
            ("", "Grüße 🎙", 7),
            ("characters = 'utf16'", "Grüße 🎙", 8),
            ("characters = 'bytes'", "Grüße 🎙", 12),
            ("", "<speak>Hi</speak>", 17),
            ("tags = false", "<speak>Hi <break time=\"1s\"/>you</speak>", 6),
            ("tags = false", "1 < 2 > 0, <3 and <b", 20),
            ("tags = false\ncharacters = 'bytes'", "<p>ü</p>", 2),
            ("ideographs = 2", "你好, ok かな 한", 16),
            ("", "你好, ok かな 한", 11),
        ] {
            assert_eq!(Counting::of(&spec(counting)).count(text), expected, "{counting} {text}");
        }
    }
}

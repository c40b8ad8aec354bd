//! How much text a request brings, where a plan counts characters.

use super::json::Json;
use super::path::Path;
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

    fn text(&self, body: &Json<'_>) -> Text {
        let Some(found) = self.place.walk(body) else { return Text::default() };
        match &self.within {
            None => Text::of(found),
            Some(within) => {
                let entries = found.as_list().unwrap_or_default();
                entries.iter().filter_map(|entry| within.walk(entry)).map(Text::of).sum()
            }
        }
    }
}

/// How much text there is, and whether there is anything in it to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Unicode scalar values, escapes decoded.
    pub characters: u64,
    /// Not all of it is white space.
    pub spoken: bool,
}

impl Text {
    fn of(value: &Json<'_>) -> Text {
        let text = value.as_text().unwrap_or_default();
        Text { characters: text.chars().count() as u64, spoken: text.chars().any(|char| !char.is_whitespace()) }
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
pub(crate) fn text(paths: &[TextPath], body: &Json<'_>) -> Text {
    paths.iter().map(|path| path.text(body)).sum()
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
            assert_eq!(text(&paths, &tree).characters, expected, "{body}");
        }
        for wrong in ["text", "$.a[*].b[*]", "$..a", "$.a[*]b"] {
            assert!(TextPath::parse(wrong).is_err(), "{wrong}");
        }
    }
}

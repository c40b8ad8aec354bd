//! How much text a request brings, where a plan counts characters.

use super::json::Json;
use super::path::Path;

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

    fn characters(&self, body: &Json<'_>) -> u64 {
        let Some(found) = self.place.walk(body) else { return 0 };
        match &self.within {
            None => length(found),
            Some(within) => {
                let entries = found.as_list().unwrap_or_default();
                entries.iter().filter_map(|entry| within.walk(entry)).map(length).sum()
            }
        }
    }
}

/// The characters of all texts of a request body: Unicode scalar values, escapes decoded.
pub(crate) fn characters(paths: &[TextPath], body: &Json<'_>) -> u64 {
    paths.iter().map(|path| path.characters(body)).sum()
}

fn length(value: &Json<'_>) -> u64 {
    value.as_text().map_or(0, |text| text.chars().count() as u64)
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
            assert_eq!(characters(&paths, &tree), expected, "{body}");
        }
        for wrong in ["text", "$.a[*].b[*]", "$..a", "$.a[*]b"] {
            assert!(TextPath::parse(wrong).is_err(), "{wrong}");
        }
    }
}

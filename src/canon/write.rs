//! JSON written straight into its bytes, member by member.

/// An object that is being written; members come in the order in which they are added.
#[derive(Debug)]
pub(crate) struct Object {
    bytes: Vec<u8>,
    /// Whether the innermost object has no member yet.
    is_empty: bool,
}

impl Object {
    /// Begins an object of about this many bytes.
    pub(crate) fn new(size: usize) -> Object {
        let mut bytes = Vec::with_capacity(size);
        bytes.push(b'{');
        Object { bytes, is_empty: true }
    }

    /// Goes on behind the members of an object that has no last bracket yet.
    pub(crate) fn behind(bytes: Vec<u8>, is_empty: bool) -> Object {
        Object { bytes, is_empty }
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.bytes.push(b'"');
        escape(value, &mut self.bytes);
        self.bytes.push(b'"');
    }

    pub(crate) fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A text of ours that needs no escapes.
    pub(crate) fn word(&mut self, name: &str, value: &str) {
        self.name(name);
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(b'"');
    }

    /// A text of two parts.
    pub(crate) fn joined(&mut self, name: &str, before: &str, behind: &str) {
        self.name(name);
        self.bytes.push(b'"');
        escape(before, &mut self.bytes);
        escape(behind, &mut self.bytes);
        self.bytes.push(b'"');
    }

    pub(crate) fn truth(&mut self, name: &str, value: bool) {
        self.json(name, if value { "true" } else { "false" });
    }

    /// A number, or anything else that is rare enough for serde.
    pub(crate) fn value(&mut self, name: &str, value: &impl serde::Serialize) {
        self.name(name);
        let before = self.bytes.len();
        // Nothing that is written here can fail: no map has a key that is not a string, and a `Vec` takes every byte.
        if serde_json::to_writer(&mut self.bytes, value).is_err() {
            self.bytes.truncate(before);
            self.bytes.extend_from_slice(b"null");
        }
    }

    /// A small number, such as a status.
    pub(crate) fn number(&mut self, name: &str, value: u16) {
        self.name(name);
        let digits = [value / 10000, value / 1000 % 10, value / 100 % 10, value / 10 % 10, value % 10];
        let first = digits.iter().position(|digit| *digit > 0).unwrap_or(digits.len() - 1);
        // A digit is below ten.
        self.bytes.extend(digits.iter().skip(first).map(|digit| b'0' + *digit as u8));
    }

    /// A value that is JSON already.
    pub(crate) fn json(&mut self, name: &str, value: &str) {
        self.name(name);
        self.bytes.extend_from_slice(value.as_bytes());
    }

    /// A member that is an object: its members follow until [`Object::close`].
    pub(crate) fn open(&mut self, name: &str) {
        self.name(name);
        self.bytes.push(b'{');
        self.is_empty = true;
    }

    /// Ends the innermost object.
    pub(crate) fn close(&mut self) {
        self.bytes.push(b'}');
        self.is_empty = false;
    }

    /// Ends the object.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.close();
        self.bytes
    }

    /// Names are ours and need no escapes.
    fn name(&mut self, name: &str) {
        let before: &[u8] = if std::mem::replace(&mut self.is_empty, false) { b"\"" } else { b",\"" };
        self.bytes.extend_from_slice(before);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b"\":");
    }
}

/// The inside of a JSON string (RFC 8259 7), spelled as serde_json spells it.
fn escape(text: &str, bytes: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    loop {
        let plain = plain(rest);
        let (before, behind) = rest.split_at(plain);
        bytes.extend_from_slice(before);
        let Some((special, behind)) = behind.split_first() else { return };
        match special {
            b'"' | b'\\' => bytes.extend_from_slice(&[b'\\', *special]),
            b'\n' => bytes.extend_from_slice(b"\\n"),
            b'\r' => bytes.extend_from_slice(b"\\r"),
            b'\t' => bytes.extend_from_slice(b"\\t"),
            0x08 => bytes.extend_from_slice(b"\\b"),
            0x0c => bytes.extend_from_slice(b"\\f"),
            control => {
                let digit = |digit: u8| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
                bytes.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(control >> 4), digit(control & 15)]);
            }
        }
        rest = behind;
    }
}

/// How many bytes at the beginning stand for themselves.
fn plain(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks();
    let dirty = words.iter().position(|word| has_special(u64::from_ne_bytes(*word)));
    let start = dirty.map_or(bytes.len() - rest.len(), |word| word * size_of::<u64>());
    let behind = bytes.get(start..).unwrap_or_default();
    start + behind.iter().position(|byte| matches!(byte, ..b' ' | b'"' | b'\\')).unwrap_or(behind.len())
}

/// Whether one of eight bytes needs an escape, all at once: subtracting borrows into the highest bit of those that do, which is
/// not set in what is ASCII.
fn has_special(word: u64) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let control = word.wrapping_sub(ONES * 0x20);
    let quote = (word ^ (ONES * 0x22)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * 0x5c)).wrapping_sub(ONES);
    (control | quote | backslash) & !word & (ONES << 7) != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn texts_are_spelled_as_serde_json_spells_them() {
        let all: String = (0..0x300).filter_map(char::from_u32).collect();
        let edges =
            ["", "plain", "\"", "7 bytes", "8 bytes!", "9 bytes!\n", "8 bytes\\\r8 bytes!", "üüüü\u{2028}\u{7f}"];
        for text in edges.into_iter().chain([all.as_str()]) {
            let mut bytes = Vec::new();
            escape(text, &mut bytes);
            assert_eq!(format!("\"{}\"", String::from_utf8_lossy(&bytes)), Value::from(text).to_string());
        }
    }

    #[test]
    fn members_follow_each_other() {
        let mut object = Object::new(0);
        object.open("a");
        object.close();
        object.optional("none", None);
        object.joined("b", "c", "d\"");
        object.word("w", "x");
        object.truth("e", true);
        for number in [0, 7, 10, 429, 1000, 65535] {
            object.number("n", number);
        }
        object.value("f", &1.5);
        object.json("g", "[]");
        let text =
            r#"{"a":{},"b":"cd\"","w":"x","e":true,"n":0,"n":7,"n":10,"n":429,"n":1000,"n":65535,"f":1.5,"g":[]}"#;
        assert_eq!(String::from_utf8(object.end()).expect("UTF-8"), text);
    }
}

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

    /// Continues an object whose closing bracket is missing.
    pub(crate) fn behind(bytes: Vec<u8>, is_empty: bool) -> Object {
        Object { bytes, is_empty }
    }

    /// A string that may need escapes.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.value(name, value);
    }

    pub(crate) fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A string that needs no escapes.
    pub(crate) fn word(&mut self, name: &str, value: &str) {
        self.name(name);
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(b'"');
    }

    /// A string in two parts.
    pub(crate) fn joined(&mut self, name: &str, before: &str, behind: &str) {
        self.value(name, &format_args!("{before}{behind}"));
    }

    pub(crate) fn truth(&mut self, name: &str, value: bool) {
        self.json(name, if value { "true" } else { "false" });
    }

    /// Whatever serde can write.
    pub(crate) fn value(&mut self, name: &str, value: &(impl serde::Serialize + ?Sized)) {
        self.name(name);
        let before = self.bytes.len();
        // Nothing that is written here can fail: no map has a key that is not a string, and a `Vec` takes every byte.
        if serde_json::to_writer(&mut self.bytes, value).is_err() {
            self.bytes.truncate(before);
            self.bytes.extend_from_slice(b"null");
        }
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

    /// Member names are constants and need no escapes.
    fn name(&mut self, name: &str) {
        let before: &[u8] = if std::mem::replace(&mut self.is_empty, false) { b"\"" } else { b",\"" };
        self.bytes.extend_from_slice(before);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b"\":");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_follow_each_other() {
        let mut object = Object::new(0);
        object.open("a");
        object.close();
        object.optional("none", None);
        object.joined("b", "c", "d\"\n");
        object.word("w", "x");
        object.truth("e", true);
        object.value("n", &429);
        object.value("f", &1.5);
        object.json("g", "[]");
        let text = r#"{"a":{},"b":"cd\"\n","w":"x","e":true,"n":429,"f":1.5,"g":[]}"#;
        assert_eq!(String::from_utf8(object.end()).expect("UTF-8"), text);
    }
}

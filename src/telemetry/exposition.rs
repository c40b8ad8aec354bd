//! The text format of Prometheus, version 0.0.4.

use std::fmt::{self, Write};

/// The media type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family of samples counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// Label names and values, in the order in which they are written.
pub type Labels<'a> = [(&'a str, &'a str)];

/// Writes families of samples, one after the other.
#[derive(Debug)]
pub struct Exposition<'a> {
    out: &'a mut String,
    name: &'static str,
}

impl<'a> Exposition<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut String) -> Exposition<'a> {
        Exposition { out, name: "" }
    }

    /// Begins a family. `help` has neither line breaks nor backslashes.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) -> &mut Self {
        self.name = name;
        self.push(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str()));
        self
    }

    /// Writes one sample of the family.
    pub fn sample(&mut self, labels: &Labels<'_>, value: impl fmt::Display) -> &mut Self {
        self.suffixed("", labels, None, value)
    }

    /// Writes one sample of a histogram: a suffix on the name, and `le` after the other labels.
    pub fn suffixed(
        &mut self,
        suffix: &str,
        labels: &Labels<'_>,
        le: Option<&str>,
        value: impl fmt::Display,
    ) -> &mut Self {
        let name = self.name;
        self.push(format_args!("{name}{suffix}"));
        let mut separator = '{';
        for (name, text) in labels.iter().copied().chain(le.map(|le| ("le", le))) {
            self.push(format_args!("{separator}{name}=\"{}\"", Escaped(text)));
            separator = ',';
        }
        if separator == ',' {
            self.out.push('}');
        }
        self.push(format_args!(" {value}\n"));
        self
    }

    fn push(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.out.write_fmt(text);
    }
}

/// A label value with backslash, quote and line break escaped.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(['\\', '"', '\n']) {
            let (plain, special) = match part.char_indices().next_back() {
                Some((at, '\\')) => (&part[..at], "\\\\"),
                Some((at, '"')) => (&part[..at], "\\\""),
                Some((at, '\n')) => (&part[..at], "\\n"),
                _ => (part, ""),
            };
            f.write_str(plain)?;
            f.write_str(special)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_exact() {
        let mut out = String::new();
        let _ = Exposition::new(&mut out)
            .family("a_total", Kind::Counter, "What a is.")
            .sample(&[], 1)
            .sample(&[("x", "q\"b\\n\nü"), ("y", "")], 2.5)
            .family("b_seconds", Kind::Histogram, "What b is.")
            .suffixed("_bucket", &[("x", "v")], Some("+Inf"), 3);
        assert_eq!(
            out,
            "# HELP a_total What a is.\n# TYPE a_total counter\na_total 1\na_total{x=\"q\\\"b\\\\n\\nü\",y=\"\"} 2.5\n\
             # HELP b_seconds What b is.\n# TYPE b_seconds histogram\nb_seconds_bucket{x=\"v\",le=\"+Inf\"} 3\n"
        );
    }
}

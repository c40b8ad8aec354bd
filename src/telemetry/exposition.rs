//! Metric families, and the two text formats in which Prometheus reads them.

use opentelemetry::trace::{SpanId, TraceId};
use std::fmt::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// The type of a metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that only grows.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// A distribution of values over buckets.
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

/// Label names and values, in the order of output.
pub type Labels<'a> = [(&'a str, &'a str)];

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer.
    Whole(i64),
    /// A fraction, mostly of seconds.
    Real(f64),
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Whole(value) => value.fmt(f),
            Number::Real(value) => value.fmt(f),
        }
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Number {
        Number::Real(value)
    }
}

/// Converts integers of every width; larger ones saturate.
macro_rules! whole {
    ($($kind:ty),*) => {
        $(impl From<$kind> for Number {
            fn from(value: $kind) -> Number {
                Number::Whole(i64::try_from(value).unwrap_or(i64::MAX))
            }
        })*
    };
}

whole!(u8, i32, u32, i64, u64, usize);

/// A request that was counted in a sample, so that its trace can be looked up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its span.
    pub span_id: SpanId,
    /// The value that it added.
    pub value: f64,
    /// When it was counted.
    pub time: SystemTime,
}

/// An upper bound of a histogram, in nanoseconds and as its label.
pub type Bound = (u64, &'static str);

/// The contents of a histogram.
#[derive(Clone, Copy, Debug)]
pub struct Sizes<'a> {
    /// Upper bounds, without the last one, which is infinite.
    pub bounds: &'static [Bound],
    /// One count for each bucket, so one more than there are bounds; not cumulative.
    pub counts: &'a [u64],
    /// The sum of all values, in seconds.
    pub sum: f64,
    /// For each count, a request that was counted in it, if one is known.
    pub exemplars: &'a [Option<Exemplar>],
}

/// Receives metric families one after the other.
pub trait Families {
    /// Begins a family. `help` has neither line breaks nor backslashes nor quotes.
    fn family(&mut self, name: &'static str, kind: Kind, help: &'static str);
    /// Receives one sample of a counter or a gauge.
    fn number(&mut self, labels: &Labels<'_>, value: Number, exemplar: Option<&Exemplar>);
    /// Receives one histogram.
    fn histogram(&mut self, labels: &Labels<'_>, counts: &Sizes<'_>);
}

/// Writes families through a chain of calls.
pub struct Exposition<'a>(&'a mut dyn Families);

impl fmt::Debug for Exposition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exposition").finish_non_exhaustive()
    }
}

impl<'a> Exposition<'a> {
    /// Writes to `to`.
    pub fn new(to: &'a mut dyn Families) -> Exposition<'a> {
        Exposition(to)
    }

    /// Begins a family. `help` must have no line breaks, backslashes or quotes.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) -> &mut Self {
        self.0.family(name, kind, help);
        self
    }

    /// Adds one sample of the family.
    pub fn sample(&mut self, labels: &Labels<'_>, value: impl Into<Number>) -> &mut Self {
        self.0.number(labels, value.into(), None);
        self
    }

    /// Adds one sample, with a request that was counted in it.
    pub fn traced(&mut self, labels: &Labels<'_>, value: impl Into<Number>, exemplar: Option<&Exemplar>) -> &mut Self {
        self.0.number(labels, value.into(), exemplar);
        self
    }

    /// Adds one histogram.
    pub fn histogram(&mut self, labels: &Labels<'_>, counts: &Sizes<'_>) -> &mut Self {
        self.0.histogram(labels, counts);
        self
    }
}

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' own, version 0.0.4.
    Prometheus,
    /// OpenMetrics, version 1.0.0: with units, exemplars and an end marker. Like Prometheus' client libraries it leaves out
    /// creation times, because a scraper makes a series of each.
    OpenMetrics,
}

impl Format {
    /// The media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The preferred format by the values of `Accept` (RFC 9110 12.5.1). OpenMetrics is used only if it is named.
    #[must_use]
    pub fn accepted<'a>(accept: impl Iterator<Item = &'a str>) -> Format {
        let (mut open, mut plain) = (0.0_f32, 0.0_f32);
        for range in accept.flat_map(|line| line.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut weight, mut known) = (1.0, true);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => weight = value.trim().parse::<f32>().unwrap_or(0.0),
                    "version" => known = value.trim().trim_matches('"') == "1.0.0",
                    _ => {}
                }
            }
            match media.as_str() {
                "application/openmetrics-text" if known => open = open.max(weight),
                "text/plain" | "text/*" | "*/*" => plain = plain.max(weight),
                _ => {}
            }
        }
        if open > 0.0 && open >= plain { Format::OpenMetrics } else { Format::Prometheus }
    }
}

/// Writes families in a text format.
#[derive(Debug)]
pub struct Text<'a> {
    out: &'a mut String,
    format: Format,
    name: &'static str,
}

impl<'a> Text<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut String, format: Format) -> Text<'a> {
        Text { out, format, name: "" }
    }

    /// Ends the exposition after the last family.
    pub fn end(self) {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
    }

    fn sample(
        &mut self,
        suffix: &str,
        labels: &Labels<'_>,
        le: Option<&str>,
        value: Number,
        exemplar: Option<&Exemplar>,
    ) {
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
        self.push(format_args!(" {value}"));
        if let (Format::OpenMetrics, Some(exemplar)) = (self.format, exemplar) {
            let Exemplar { trace_id, span_id, value, time } = exemplar;
            let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            self.push(format_args!(" # {{trace_id=\"{trace_id}\",span_id=\"{span_id}\"}} {value} {seconds:.3}"));
        }
        self.out.push('\n');
    }

    fn push(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.out.write_fmt(text);
    }
}

impl Families for Text<'_> {
    fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) {
        self.name = name;
        let family = match self.format {
            Format::Prometheus => name,
            // In OpenMetrics the suffix belongs to the sample, not to the family.
            Format::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
        };
        self.push(format_args!("# HELP {family} {help}\n# TYPE {family} {}\n", kind.as_str()));
        let unit = ["seconds", "bytes"].into_iter().find(|unit| family.ends_with(unit));
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit) {
            self.push(format_args!("# UNIT {family} {unit}\n"));
        }
    }

    fn number(&mut self, labels: &Labels<'_>, value: Number, exemplar: Option<&Exemplar>) {
        self.sample("", labels, None, value, exemplar);
    }

    fn histogram(&mut self, labels: &Labels<'_>, counts: &Sizes<'_>) {
        let names = counts.bounds.iter().map(|(_, name)| *name).chain(["+Inf"]);
        let mut total = 0_u64;
        for (bucket, (name, count)) in names.zip(counts.counts).enumerate() {
            total += count;
            let exemplar = counts.exemplars.get(bucket).and_then(Option::as_ref);
            self.sample("_bucket", labels, Some(name), total.into(), exemplar);
        }
        self.sample("_sum", labels, None, counts.sum.into(), None);
        self.sample("_count", labels, None, total.into(), None);
    }
}

/// A label value, with backslash, quote and line break escaped.
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
mod tests;

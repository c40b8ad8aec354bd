//! A strict reader of the metrics page, in both of its formats.

use std::collections::{BTreeMap, BTreeSet};

/// One sample.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Its name, suffix included.
    pub(crate) name: String,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Its value.
    pub(crate) value: f64,
    /// The labels of its exemplar.
    pub(crate) exemplar: Option<BTreeMap<String, String>>,
}

/// A family as it was announced.
#[derive(Debug, Default)]
struct Family {
    name: String,
    kind: String,
    told: Vec<String>,
}

/// Reads a page; `open` says that it is OpenMetrics.
pub(crate) fn read(page: &str, open: bool) -> Result<Vec<Sample>, String> {
    let body = match (open, page.strip_suffix("# EOF\n")) {
        (true, None) => return Err("no end".into()),
        (true, Some(body)) => body,
        (false, _) => page,
    };
    let (mut family, mut families, mut series) = (Family::default(), BTreeSet::new(), BTreeSet::new());
    let mut samples: Vec<Sample> = Vec::new();
    for line in body.strip_suffix('\n').ok_or("the last line has no end")?.split('\n') {
        let fault = |what: &str| Err(format!("{what}: {line}"));
        if let Some(told) = line.strip_prefix("# ") {
            let (keyword, rest) = told.split_once(' ').ok_or(format!("no keyword: {line}"))?;
            let (name, text) = rest.split_once(' ').ok_or(format!("no text: {line}"))?;
            if family.name != name {
                if !families.insert(name.to_owned()) {
                    return fault("announced before");
                }
                family = Family { name: name.to_owned(), ..Family::default() };
            }
            if family.told.iter().any(|before| before == keyword) {
                return fault("told twice");
            }
            family.told.push(keyword.to_owned());
            match keyword {
                "HELP" => {}
                "TYPE" => family.kind = text.to_owned(),
                "UNIT" if open && name.ends_with(&format!("_{text}")) => {}
                _ => return fault("unknown"),
            }
            continue;
        }
        let sample = sample(line, open)?;
        if !belongs(&sample.name, &family, open) {
            return fault("not of the family above");
        }
        let identity = (sample.name.clone(), sample.labels.clone());
        if !series.insert(identity) {
            return fault("twice");
        }
        samples.push(sample);
    }
    histograms(&samples)?;
    Ok(samples)
}

fn belongs(name: &str, family: &Family, open: bool) -> bool {
    let suffixes: &[&str] = match (family.kind.as_str(), open) {
        ("counter", true) => &["_total"],
        ("counter", false) if family.name.ends_with("_total") => &[""],
        ("gauge", _) => &[""],
        ("histogram", _) => &["_bucket", "_sum", "_count"],
        _ => &[],
    };
    suffixes.iter().any(|suffix| name.strip_suffix(suffix) == Some(&family.name))
}

fn sample(line: &str, open: bool) -> Result<Sample, String> {
    let fault = || format!("no sample: {line}");
    let end = line.find(['{', ' ']).ok_or_else(fault)?;
    let (name, rest) = line.split_at(end);
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
        return Err(fault());
    }
    let (labels, rest) = labels(rest).ok_or_else(fault)?;
    let rest = rest.strip_prefix(' ').ok_or_else(fault)?;
    let (value, exemplar) = match rest.split_once(" # ") {
        Some((value, exemplar)) => (value, Some(exemplar)),
        None => (rest, None),
    };
    let exemplar = match exemplar {
        None => None,
        Some(text) if open && (name.ends_with("_total") || name.ends_with("_bucket")) => {
            let (labels, rest) = self::labels(text).ok_or_else(fault)?;
            let numbers: Vec<f64> = rest.split(' ').skip(1).filter_map(|number| number.parse().ok()).collect();
            let size: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
            // OpenMetrics 1.0: a value and a time, and no more than 128 characters.
            if numbers.len() != 2 || size > 128 {
                return Err(fault());
            }
            Some(labels)
        }
        Some(_) => return Err(fault()),
    };
    Ok(Sample { name: name.to_owned(), labels, value: value.parse().map_err(|_| fault())?, exemplar })
}

/// Labels in braces, if there are any, and what follows.
fn labels(text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    let Some(mut rest) = text.strip_prefix('{') else { return Some((labels, text)) };
    loop {
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    same @ ('\\' | '"') => same,
                    _ => return None,
                }),
                (_, plain) => value.push(plain),
            }
        };
        if labels.insert(name.to_owned(), value).is_some() {
            return None;
        }
        rest = &after[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Some((labels, rest.strip_prefix('}')?)),
        }
    }
}

/// Buckets grow, their bounds are canonical, and the last one is the count.
fn histograms(samples: &[Sample]) -> Result<(), String> {
    let buckets: Vec<&Sample> = samples.iter().filter(|sample| sample.name.ends_with("_bucket")).collect();
    let rest = |sample: &Sample| {
        let mut labels = sample.labels.clone();
        labels.remove("le").map(|le| (labels, le))
    };
    for pair in buckets.windows(2) {
        let fault = || format!("{:?} {:?}", pair[0], pair[1]);
        let (Some((one, low)), Some((other, high))) = (rest(pair[0]), rest(pair[1])) else { return Err(fault()) };
        let canonical = low == "+Inf" || low.contains("e-") || low.contains('.');
        let number = |text: &str| text.trim_start_matches('+').parse::<f64>().unwrap_or(f64::NAN);
        let same = pair[0].name == pair[1].name && one == other;
        let grows = pair[0].value <= pair[1].value && number(&low) < number(&high);
        if !canonical || same && !grows || !same && low != "+Inf" {
            return Err(fault());
        }
    }
    for bucket in buckets.iter().filter(|bucket| bucket.labels["le"] == "+Inf") {
        let name = bucket.name.replace("_bucket", "_count");
        let mut labels = bucket.labels.clone();
        let _ = labels.remove("le");
        let count = samples.iter().find(|sample| sample.name == name && sample.labels == labels);
        if count.is_none_or(|count| count.value != bucket.value) {
            return Err(format!("{bucket:?} is not {count:?}"));
        }
    }
    Ok(())
}

#[test]
fn seeded_mistakes_are_found() {
    let head = "# HELP a_total A.\n# TYPE a_total counter\n";
    let open = "# HELP a A.\n# TYPE a counter\n";
    let buckets = "# HELP h H.\n# TYPE h histogram\n";
    for (page, format, fine) in [
        (format!("{head}a_total{{x=\"\\\"\\n\"}} 1\n"), false, true),
        (format!("{open}a_total 1 # {{t=\"1\"}} 1 2.5\n# EOF\n"), true, true),
        (format!("{buckets}h_bucket{{le=\"1.0\"}} 1\nh_bucket{{le=\"+Inf\"}} 2\nh_sum 1\nh_count 2\n"), false, true),
        (format!("{head}a_total 1 # {{t=\"1\"}} 1 2.5\n"), false, false),
        (format!("{head}a_total 1\n# EOF\n"), true, false),
        (format!("{open}a_total 1\n"), true, false),
        (format!("{head}a_total 1\na_total 2\n"), false, false),
        (format!("{head}a_total 1"), false, false),
        (format!("{head}b_total 1\n"), false, false),
        (format!("{head}{head}a_total 1\n"), false, false),
        (format!("{head}a_total{{x=\"1\",x=\"2\"}} 1\n"), false, false),
        (format!("{head}a_total one\n"), false, false),
        (format!("{buckets}h_bucket{{le=\"1\"}} 1\nh_bucket{{le=\"+Inf\"}} 2\nh_sum 1\nh_count 2\n"), false, false),
        (format!("{buckets}h_bucket{{le=\"1.0\"}} 3\nh_bucket{{le=\"+Inf\"}} 2\nh_sum 1\nh_count 2\n"), false, false),
        (format!("{buckets}h_bucket{{le=\"1.0\"}} 1\nh_bucket{{le=\"+Inf\"}} 2\nh_sum 1\nh_count 3\n"), false, false),
    ] {
        let outcome = read(&page, format);
        assert_eq!(outcome.is_ok(), fine, "{page}{outcome:?}");
    }
}

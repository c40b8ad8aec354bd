//! `[[prices]]`

use super::Reader;
use crate::config::path::Path;
use crate::config::problem::Findings;
use crate::config::profiles::Profiles;
use crate::config::raw;
use crate::config::values;
use crate::generation::{ModelName, Price, Prices};
use std::collections::HashMap;

/// All prices; no two for the same.
pub(super) fn prices(raw: &[raw::Price], profiles: &Profiles, findings: &mut Findings) -> Prices {
    let mut seen = HashMap::new();
    for (index, row) in raw.iter().enumerate() {
        let first = *seen.entry((row.provider.as_deref(), row.model.as_deref())).or_insert(index);
        if first != index {
            let path = Path::of("prices").index(index);
            let what = format!("a price for the same as `prices[{first}]`");
            findings.value(&path, what).expected("one row for each provider and model");
        }
    }
    Prices::new(raw.iter().enumerate().filter_map(|(index, raw)| price(index, raw, profiles, findings)).collect())
}

fn price(index: usize, raw: &raw::Price, profiles: &Profiles, findings: &mut Findings) -> Option<Price> {
    let path = Path::of("prices").index(index);
    if let Some(name) = raw.provider.as_deref() {
        let _ = profiles.find(name, &path.key("provider"), findings);
    }
    let amounts = [
        ("per_1000_characters", raw.per_1000_characters),
        ("per_audio_minute", raw.per_audio_minute),
        ("per_request", raw.per_request),
    ];
    if amounts.iter().all(|(_, amount)| amount.is_none()) && !findings.any_within(&path) {
        findings.value(&path, "says no price").expected("`per_1000_characters`, `per_audio_minute` or `per_request`");
    }
    let mut reader = Reader { path: path.clone(), findings };
    for (key, amount) in amounts {
        if let Some(amount) = amount.filter(|amount| !(amount.is_finite() && *amount >= 0.0)) {
            reader.refuse(key, &amount.to_string(), "a number that is not below 0".to_owned());
        }
    }
    let model = raw.model.as_deref();
    if let Some(text) = model.filter(|text| text.is_empty() || text.trim_end_matches('*').contains('*')) {
        reader.refuse("model", text, "the name of a model, or how it begins and then `*`".to_owned());
    }
    let currency = reader.read("currency", raw.currency.as_deref(), values::currency);
    Some(Price {
        provider: raw.provider.clone()?,
        model: ModelName::parse(model),
        currency: currency?,
        per_1000_characters: raw.per_1000_characters.unwrap_or_default(),
        per_audio_minute: raw.per_audio_minute.unwrap_or_default(),
        per_request: raw.per_request.unwrap_or_default(),
    })
}

//! The prices of providers: rows, of which the most specific one applies.

/// A row of prices.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    /// The provider's name.
    pub provider: String,
    /// The models that it applies to.
    pub model: ModelName,
    /// ISO 4217: `USD`.
    pub currency: String,
    /// For 1000 characters, as the provider counts them.
    pub per_1000_characters: f64,
    /// For a minute of audio: the client's for a transcription, otherwise the provider's.
    pub per_audio_minute: f64,
    /// For each generation.
    pub per_request: f64,
}

/// Which models a row applies to; later variants are more specific.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModelName {
    /// All models, and unknown ones.
    Any,
    /// Models whose name begins like this; a longer prefix is more specific.
    Family(String),
    /// This model.
    Exact(String),
}

impl ModelName {
    /// `eleven_flash_v2_5`, or `eleven_flash*` for a prefix.
    #[must_use]
    pub fn parse(text: Option<&str>) -> ModelName {
        match text {
            None | Some("*") => ModelName::Any,
            Some(text) => match text.strip_suffix('*') {
                Some(family) => ModelName::Family(family.to_owned()),
                None => ModelName::Exact(text.to_owned()),
            },
        }
    }

    /// How specifically this matches a model; none when it does not.
    fn fit(&self, model: Option<&str>) -> Option<usize> {
        match (self, model) {
            (ModelName::Any, _) => Some(0),
            (ModelName::Family(family), Some(model)) => model.starts_with(family.as_str()).then(|| 1 + family.len()),
            (ModelName::Exact(name), Some(model)) => (name == model).then_some(usize::MAX),
            (ModelName::Family(_) | ModelName::Exact(_), None) => None,
        }
    }
}

/// What is charged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amounts {
    /// Characters.
    pub characters: f64,
    /// Seconds of the audio that is charged.
    pub audio_seconds: f64,
    /// Generations.
    pub requests: f64,
}

impl Price {
    /// The cost of this usage.
    #[must_use]
    pub fn cost(&self, amounts: Amounts) -> f64 {
        self.per_1000_characters * amounts.characters / 1000.0
            + self.per_audio_minute * amounts.audio_seconds / 60.0
            + self.per_request * amounts.requests
    }
}

/// All rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices(Vec<Price>);

impl Prices {
    /// No two rows may be for the same models of one provider; the configuration rejects that.
    #[must_use]
    pub fn new(rows: Vec<Price>) -> Prices {
        Prices(rows)
    }

    /// Whether there are no prices.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The row for a model of a provider, or for an unknown model.
    #[must_use]
    pub fn of(&self, provider: &str, model: Option<&str>) -> Option<&Price> {
        let rows = self.0.iter().filter(|row| row.provider == provider);
        rows.filter_map(|row| Some((row.model.fit(model)?, row))).max_by_key(|(fit, _)| *fit).map(|(_, row)| row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(provider: &str, model: Option<&str>, per_1000_characters: f64) -> Price {
        Price {
            provider: provider.to_owned(),
            model: ModelName::parse(model),
            currency: "USD".to_owned(),
            per_1000_characters,
            per_audio_minute: 0.0,
            per_request: 0.0,
        }
    }

    #[test]
    fn the_most_exact_row_wins_wherever_it_stands() {
        let mut rows = vec![
            row("a", None, 1.0),
            row("a", Some("flash*"), 2.0),
            row("a", Some("flash_v2*"), 3.0),
            row("a", Some("flash_v2_5"), 4.0),
            row("b", Some("x"), 5.0),
        ];
        for _ in 0..2 {
            let prices = Prices::new(rows.clone());
            for (provider, model, expected) in [
                ("a", None, Some(1.0)),
                ("a", Some("other"), Some(1.0)),
                ("a", Some("flash"), Some(2.0)),
                ("a", Some("flash_v2"), Some(3.0)),
                ("a", Some("flash_v2_5"), Some(4.0)),
                ("a", Some("flash_v2_5_1"), Some(3.0)),
                ("b", Some("x"), Some(5.0)),
                ("b", Some("y"), None),
                ("b", None, None),
                ("c", None, None),
            ] {
                let found = prices.of(provider, model).map(|row| row.per_1000_characters);
                assert_eq!(found, expected, "{provider} {model:?}");
            }
            rows.reverse();
        }
    }

    #[test]
    fn a_cost_is_the_sum_of_its_parts() {
        let price = Price { per_audio_minute: 0.6, per_request: 0.001, ..row("a", None, 0.05) };
        let amounts = Amounts { characters: 2000.0, audio_seconds: 30.0, requests: 2.0 };
        assert!((price.cost(amounts) - (0.1 + 0.3 + 0.002)).abs() < 1e-12);
        assert_eq!(price.cost(Amounts::default()), 0.0);
    }
}

//! `[[prices]]`: what is taken, and what is said of the rest.

use super::*;

#[test]
fn prices_are_read_with_their_models() {
    let text = format!(
        "{ROUTE}[[prices]]\nprovider = 'elevenlabs'\ncurrency = 'USD'\nper_1000_characters = 0.1\n\
         [[prices]]\nprovider = 'elevenlabs'\nmodel = 'eleven_flash*'\ncurrency = 'EUR'\nper_request = 1\n\
         [[prices]]\nprovider = 'x'\ncurrency = 'USD'\nper_audio_minute = 0\n[providers.x]\n"
    );
    let prices = load_str(&[("t.toml", &text)], []).expect("a configuration").config.prices;
    let found = |provider, model| prices.of(provider, model).map(|row| row.currency.as_str());
    assert_eq!(found("elevenlabs", None), Some("USD"));
    assert_eq!(found("elevenlabs", Some("eleven_flash_v2_5")), Some("EUR"));
    assert_eq!((found("x", None), found("cartesia", None)), (Some("USD"), None));
}

#[test]
fn problems_of_prices() {
    for (row, expected) in [
        (
            "provider = 'elevenlabs'\ncurrency = 'USD'",
            "t.toml:7:1: prices[0]: says no price; expected `per_1000_characters`, `per_audio_minute` or `per_request`",
        ),
        (
            "provider = 'elevenlabs'\ncurrency = 'usd'\nper_request = 1",
            "t.toml:9:12: prices[0].currency: `usd` cannot be used; expected a currency of ISO 4217 such as `USD`",
        ),
        (
            "provider = 'elevenlabs'\ncurrency = 'USD'\nper_request = -1",
            "t.toml:10:15: prices[0].per_request: `-1` cannot be used; expected a number that is not below 0",
        ),
        (
            "provider = 'elevenlabs'\ncurrency = 'USD'\nper_audio_minute = inf",
            "t.toml:10:20: prices[0].per_audio_minute: `inf` cannot be used; expected a number that is not below 0",
        ),
        (
            "provider = 'elevenlabs'\nmodel = 'a*b'\ncurrency = 'USD'\nper_request = 1",
            "t.toml:9:9: prices[0].model: `a*b` cannot be used; expected the name of a model, or how it begins and then `*`",
        ),
        (
            "provider = 'elevenlabs'\ncurrency = 'USD'\nper_request = 1\n[[prices]]\nprovider = 'elevenlabs'\ncurrency = 'EUR'\nper_request = 2",
            "t.toml:11:1: prices[1]: a price for the same as `prices[0]`; expected one row for each provider and model",
        ),
        ("currency = 'USD'\nper_request = 1", "t.toml:7:1: prices[0].provider: missing; expected a string"),
        (
            "provider = 'elevenlabs'\ncurrency = 'USD'\nper_character = 1",
            "t.toml:10:1: prices[0].per_character: unknown key",
        ),
    ] {
        let found = problems(&format!("{ROUTE}[[prices]]\n{row}\n"), &[]);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{row}: {found:#?} instead of {expected}");
    }
    let found =
        problems(&format!("{ROUTE}[[prices]]\nprovider = 'elevenlab'\ncurrency = 'USD'\nper_request = 1\n"), &[]);
    assert!(found.len() == 1 && found[0].ends_with("did you mean `elevenlabs`?"), "{found:#?}");
}

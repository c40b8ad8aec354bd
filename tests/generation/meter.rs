//! What generations used, and what that costs.

use speechgate::canon::generations::Text;
use speechgate::canon::{Evidence, Observed, Profile, ProfileSpec};
use speechgate::generation::{Asked, Facts, Generation, ModelName, Outcome, Price, Record, Said, Watch, meter};
use std::time::{Instant, UNIX_EPOCH};

/// 100 characters, 2 seconds of the client's audio and 3 of the provider's, which tells this.
fn record(kind: &str, told: &str, outcome: Outcome) -> Record {
    let text = format!(
        "[[generations]]\npath = 'POST /x'\nkind = '{kind}'\nformat = {{ default = 'pcm_16000' }}\n\
         input_format = {{ default = 'pcm_8000' }}\nfigures = {{ characters = '$.characters', audio_seconds = '$.seconds' }}\n"
    );
    let spec: ProfileSpec = toml::from_str(&text).expect("a profile");
    let profile = Profile::compile("x", spec).expect("a right profile");
    let rule = profile.generations("POST", "/x").expect("generations");
    let facts = Facts::of(rule, Asked { method: "POST", path: "/x", query: None });
    let now = Instant::now();
    let mut one = Generation::new(rule, &facts, Watch::default(), now);
    one.said(Said { text: Some(Text { characters: 100, spoken: true }), flush: false, last: true }, now);
    one.input(32_000, &[0; 32_000]);
    one.audio(96_000, &[0; 96_000], now, now);
    one.figures(rule, &Evidence::new(&Observed::frame(told.as_bytes(), UNIX_EPOCH)));
    one.end(outcome, None, None, now)
}

#[test]
fn charged_units_are_counted() {
    use Outcome::{Cancelled, Complete, Failed, Silent};
    let price = Price {
        provider: "x".to_owned(),
        model: ModelName::Any,
        currency: "USD".to_owned(),
        per_1000_characters: 1.0,
        per_audio_minute: 6.0,
        per_request: 10.0,
    };
    for (kind, told, outcome, failed, expected) in [
        // kind, the provider's figures, how it ended, whether failures are charged; characters, in, out, cost
        ("tts", "{}", Complete, false, (100.0, 2.0, 3.0, 0.1 + 0.3 + 10.0)),
        ("tts", "{}", Cancelled, false, (100.0, 2.0, 3.0, 0.1 + 0.3 + 10.0)),
        ("tts", "{}", Failed, false, (0.0, 0.0, 0.0, 0.0)),
        ("tts", "{}", Silent, false, (0.0, 0.0, 0.0, 0.0)),
        ("tts", "{}", Failed, true, (100.0, 2.0, 3.0, 0.1 + 0.3 + 10.0)),
        ("tts", r#"{"characters":50}"#, Complete, false, (50.0, 2.0, 3.0, 0.05 + 0.3 + 10.0)),
        ("tts", r#"{"characters":50}"#, Failed, false, (50.0, 0.0, 0.0, 0.05 + 10.0)),
        ("tts", r#"{"seconds":30}"#, Complete, false, (100.0, 2.0, 30.0, 0.1 + 3.0 + 10.0)),
        ("stt", "{}", Complete, false, (0.0, 2.0, 3.0, 0.2 + 10.0)),
        ("stt", r#"{"seconds":1.5}"#, Complete, false, (0.0, 1.5, 3.0, 0.15 + 10.0)),
        ("agent", "{}", Complete, false, (100.0, 2.0, 3.0, 0.1 + 0.3 + 10.0)),
    ] {
        let record = record(kind, told, outcome);
        let usage = meter(&record, failed, Some(&price));
        let Some((currency, cost)) = usage.cost else { panic!("a cost") };
        let found = (usage.characters, usage.audio_in_seconds, usage.audio_out_seconds);
        let (characters, input, output, whole) = expected;
        assert_eq!(found, (Some(characters), Some(input), Some(output)), "{kind} {told} {outcome:?}");
        assert!(currency == "USD" && (cost - whole).abs() < 1e-9, "{kind} {told} {outcome:?}: {cost}");
        assert_eq!(meter(&record, failed, None).cost, None);
    }
}

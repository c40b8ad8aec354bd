//! Ids as providers write them, and what happens to generations that cannot be followed.

use super::*;

/// A tenth of a second of PCM with this as its id, as JSON has it.
fn audio_of(id: &str) -> String {
    audio("").replace(r#""id":"""#, &format!(r#""id":{id}"#))
}

#[test]
fn audio_is_found_by_an_id_however_it_is_written() {
    let long = format!(r#""{}""#, "n".repeat(300));
    let huge = |end: &str| format!(r#""{}{end}""#, "é".repeat(9000));
    for (client, provider) in [
        (r#""größe-1""#, r#""gr\u00f6\u00dfe-1""#),
        (r#""a\"b""#, r#""a\"b""#),
        (r#""a\\""#, r#""a\u005c""#),
        (&long, &long),
        (&huge("1"), &huge("1")),
    ] {
        let mut bench = Bench::new(CONTEXTS);
        bench.client(&format!(r#"{{"id":{client},"text":"x"}}"#), '+');
        bench.client(r#"{"id":"other","text":"x","more":true}"#, '+');
        bench.after(1000).provider(&audio_of(provider));
        assert_eq!(bench.due(), Some(4000), "the gap, and not the first audio: {provider:.40}");
        bench.provider(&format!(r#"{{"id":{provider},"done":true}}"#));
        let ended = bench.tracker.take_ended();
        assert_eq!((ended.len(), ended[0].record.outcome), (1, Outcome::Complete), "{provider:.40}");
        assert_eq!(ended[0].record.audio_out_seconds, Some(0.1), "{provider:.40}");
    }
}

#[test]
fn long_ids_with_a_common_prefix_are_distinguished() {
    for length in [256, 300, 5000, 20_000] {
        let start = "s".repeat(length);
        let mut bench = Bench::new(CONTEXTS);
        bench.client(&format!(r#"{{"id":"{start}1","text":"x"}}"#), '+');
        bench.client(&format!(r#"{{"id":"{start}2","text":"x"}}"#), '+');
        bench.provider(&audio(&format!("{start}2")));
        let silent = bench.after(5000).overdue();
        let ids: Vec<&str> = silent.iter().map(|one| &*one.record.id).collect();
        assert_eq!(ids.len(), 2, "one was late, one stalled");
        assert_ne!(ids[0], ids[1]);
        let late = silent.iter().find(|one| one.record.silent == Some(Silent::Late)).expect("one was late");
        if length < 4096 {
            assert_eq!(*late.record.id, format!("{start}1"), "the client hears its whole id");
        }
        assert!(late.record.id.len() < 4200, "no more is kept");
    }
}

#[test]
fn an_id_of_the_providers_own_is_that_of_the_one_without() {
    for id in ["null", r#""default""#] {
        for others in [0, 1] {
            let mut bench = Bench::new(CONTEXTS);
            bench.client(r#"{"text":"x"}"#, '+');
            for _ in 0..others {
                bench.client(r#"{"id":"other","text":"x","more":true}"#, '+');
            }
            bench.provider(&audio_of(id));
            bench.after(2000).provider(&format!(r#"{{"id":{id},"done":true}}"#));
            let ended = bench.tracker.take_ended();
            assert_eq!((ended.len(), ended[0].record.outcome), (1, Outcome::Complete), "{id}");
            assert_eq!((&*ended[0].record.id, ended[0].record.audio_out_seconds), ("", Some(0.1)), "{id}");
        }
    }
    // What is late of one that has ended belongs to no other.
    let mut bench = Bench::new(CONTEXTS);
    bench.client(r#"{"id":"gone","text":"x"}"#, '+').client(r#"{"id":"gone","cancel":true}"#, '=');
    bench.client(r#"{"text":"x"}"#, '+');
    let _ = bench.tracker.take_ended();
    bench.provider(&audio("gone")).provider(r#"{"id":"gone","done":true}"#);
    assert!(bench.tracker.take_ended().is_empty());
    assert_eq!(bench.due(), Some(4000));
}

#[test]
fn unobserved_generations_are_never_silent_or_counted() {
    let mut bench = Bench::new(CONTEXTS);
    bench.client(r#"{"id":"a","text":"x"}"#, '+');
    bench.tracker.unseen();
    assert_eq!(bench.due(), None);
    bench.provider(r#"{"id":"a","done":true}"#);
    let ended = bench.tracker.take_ended();
    assert_eq!((ended[0].record.outcome, ended[0].record.audio_out_seconds), (Outcome::Complete, None));
    bench.client(r#"{"id":"b","text":"x"}"#, '+');
    assert_eq!(bench.due(), Some(4000), "the next is watched again");
}

#[test]
fn generations_beyond_the_most_are_counted_together() {
    let mut bench = Bench::new(CONTEXTS);
    for number in 0..64 {
        bench.client(&format!(r#"{{"id":"{number}","text":"x","more":true}}"#), '+');
    }
    for id in ["64", "65"] {
        bench.client(&format!(r#"{{"id":"{id}","text":"hello","more":true}}"#), '+');
        bench.client(&format!(r#"{{"id":"{id}","text":"hello"}}"#), '+');
        bench.provider(&audio(id));
    }
    bench.provider(&audio("0"));
    assert!(!bench.tracker.has_room());
    bench.tracker.end(Outcome::Cancelled, None, bench.clock());
    let ended = bench.tracker.take_ended();
    assert_eq!(ended.len(), 65);
    let rest = ended.iter().find(|one| one.record.id.is_empty()).expect("the rest");
    assert_eq!((rest.record.characters, rest.record.outcome), (Some(20), Outcome::Cancelled));
    assert_eq!(rest.record.audio_out_seconds, Some(0.2));
}

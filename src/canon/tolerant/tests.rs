use super::*;
use serde_json::{Value, json};

fn value(text: &str) -> Option<Value> {
    read(text).map(|json| json.to_value())
}

#[test]
fn json_that_serde_refuses_is_read() {
    let deep = format!(r#"{{"code":"x","deep":{}7{},"after":1}}"#, "[".repeat(200), "]".repeat(200));
    for (text, expected) in [
        (r#"{"code":"x","text":"a\ud83d b"}"#, json!({"code":"x","text":"a\u{fffd} b"})),
        (r#"{"text":"\ud83d\ude00 \ude00 \ud83d\n"}"#, json!({"text":"\u{1f600} \u{fffd} \u{fffd}\n"})),
        (
            r#"{"a":NaN,"b":Infinity,"c":-Infinity,"d":1e400,"e":-1e400,"f":1}"#,
            json!({"a":null,"b":null,"c":null,"d":null,"e":null,"f":1}),
        ),
        ("{\"a\":\"tab\there\nand \u{1} there\",\"b\":2}", json!({"a":"tab\there\nand \u{1} there","b":2})),
        (r#"{"a":1} trailing {"b":2}"#, json!({"a":1})),
        (r#"{"a":1}}"#, json!({"a":1})),
        (r#"{"a":[1,2,],"b":{"c":3,},}"#, json!({"a":[1,2],"b":{"c":3}})),
        (r#"{"a":True,"b":None,"c":01.50}"#, json!({"a":true,"b":null,"c":1.5})),
        (r#"{"message":"he said "no" twice","code":"x"}"#, json!({"message":"he said ","code":"x"})),
        (r#"{"a":1 "b":2}"#, json!({"a":1,"b":2})),
        (r#"{"a":"\q\/\u00e9\u12"}"#, json!({"a":"q/é\u{fffd}12"})),
    ] {
        assert_eq!(value(text), Some(expected), "{text}");
    }
    for (text, expected) in [
        ("{'detail': {'code': 'x', 'message': \"it's\"}}", json!({"detail":{"code":"x","message":"it's"}})),
        (
            r"{'error': 'don\'t', 'ok': False, 'data': None, 'raw': b'x'}",
            json!({"error":"don't","ok":false,"data":null,"raw":"x"}),
        ),
        (r#"['a', "b's", 'say "c"']"#, json!(["a", "b's", "say \"c\""])),
        (r#"{"message":"it's","code":'x'}"#, json!({"message":"it's","code":"x"})),
        ("{'code': 'quota', 'text': 'cut of", json!({"code":"quota"})),
    ] {
        assert_eq!(value(text), Some(expected), "{text}");
    }
    let read = value(&deep).expect("an object");
    assert_eq!((&read["code"], &read["after"]), (&json!("x"), &json!(1)));
}

#[test]
fn json_that_was_cut_keeps_what_was_whole() {
    for (text, expected) in [
        (
            r#"{"detail":{"status":"quota_exceeded","message":"AAAA"#,
            json!({"detail":{"status":"quota_exceeded","message":"AAAA"}}),
        ),
        (r#"{"a":1,"b":[1,2,{"c":"d\u00"#, json!({"a":1,"b":[1,2,{"c":"d"}]})),
        (r#"{"a":1,"b"#, json!({"a":1})),
        (r#"{"a":1,"b":"#, json!({"a":1})),
        (r#"{"a":1,"b":tr"#, json!({"a":1})),
        (r#"{"a":1,"b":12"#, json!({"a":1})),
        (r#"["x\\"#, json!(["x\\"])),
        (r#"["x\"#, json!(["x"])),
    ] {
        assert_eq!(value(text), Some(expected), "{text}");
    }
}

#[test]
fn texts_that_begin_like_json_stay_texts() {
    for text in [
        "{oops}",
        "[error] no such host",
        "{",
        "[",
        "{ \"",
        "{,,,",
        "[[",
        "{{{{{{",
        "\"so\" they said",
        "{'tis so}",
        "['s no list",
    ] {
        assert_eq!(value(text), None, "{text}");
    }
}

#[test]
fn what_serde_reads_is_read_alike() {
    for text in [
        r#"{"a":[1,-2,3.5,true,false,null,"x\n\u00e9",{}],"b":{"c":"d","c":"e"},"":0,"a":7}"#,
        "[]",
        "{}",
        "\"text\"",
        r#"[{"a":18446744073709551615},[[]]]"#,
    ] {
        assert_eq!(value(text), Some(serde_json::from_str(text).expect("JSON")), "{text}");
    }
}

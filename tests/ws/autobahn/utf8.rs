//! Group 6: text that is UTF-8, and text that is not.

use super::Step::{Await, Chop, Send};
use super::{Case, case, closed, fragments, part, text};
use crate::support::up;
use speechgate::wire::frame::Opcode::{Continuation, Pong, Text};

/// 6: texts that are UTF-8.
const GOOD: [&[u8]; 26] = [
    "Hello-µ@ßöäüàá-UTF-8!!".as_bytes(),
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
    b"\0",
    b"\x7f",
    b"\xc2\x80",
    b"\xdf\xbf",
    b"\xe0\xa0\x80",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbf\xbd",
    b"\xef\xbf\xbe",
    b"\xef\xbf\xbf",
    b"\xf0\x90\x80\x80",
    b"\xf4\x8f\xbf\xbf",
    b"\xf0\x9f\xbf\xbe\xf0\x9f\xbf\xbf",
    b"\xf0\xaf\xbf\xbe\xf0\xaf\xbf\xbf",
    b"\xf1\x8f\xbf\xbe\xf2\x8f\xbf\xbf",
    b"\xf3\xbf\xbf\xbe\xf4\x8f\xbf\xbe",
    b"\xef\xbf\xb9",
    b"\xef\xbf\xba",
    b"\xef\xbf\xbb",
    b"\xef\xbf\xbc",
    b"\xef\xbb\xbf",
    b"\xef\xb7\x90",
    b"{\"type\":\"none\"}",
    b" {",
];

/// 6: texts that are not.
const BAD: [&[u8]; 56] = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
    b"\xce",
    b"\xce\xba\xe1",
    b"\xce\xba\xe1\xbd",
    b"\xce\xba\xe1\xbd\xb9\xcf",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xf7\xbf\xbf\xbf",
    b"\xfb\xbf\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\x80",
    b"\xbf",
    b"\x80\xbf",
    b"\x80\xbf\x80",
    b"\x80\xbf\x80\xbf\x80\xbf",
    b"\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f",
    b"\xc0 \xc1 \xc2 \xc3 \xc4 ",
    b"\xe0 \xe1 \xe2 ",
    b"\xf0 \xf1 \xf2 ",
    b"\xf8 \xf9 ",
    b"\xfc \xfd ",
    b"\xc0",
    b"\xe0\x80",
    b"\xf0\x80\x80",
    b"\xf8\x80\x80\x80",
    b"\xfc\x80\x80\x80\x80",
    b"\xdf",
    b"\xef\xbf",
    b"\xf7\xbf\xbf",
    b"\xfb\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf",
    b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xfe\xfe\xff\xff",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xf8\x80\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xc0\x80",
    b"\xe0\x80\x80",
    b"\xf0\x80\x80\x80",
    b"\xed\xa0\x80",
    b"\xed\xad\xbf",
    b"\xed\xbe\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xed\xaf\xbf\xed\xbf\xbf",
    b"ok\xf4\x8f\xbf",
];

pub(super) fn utf8() -> Vec<Case> {
    let mut cases = Vec::new();
    let rows = GOOD.into_iter().map(|text| (text, None)).chain(BAD.into_iter().map(|text| (text, Some(1007))));
    for (payload, refused) in rows {
        let outcome = match refused {
            None => vec![text(payload), closed(1000)],
            Some(code) => vec![closed(code)],
        };
        let name = format!("6 {}", payload.escape_ascii());
        cases.push(case(name.as_str(), [Send(up(Text, payload))], outcome.clone()));
        cases.push(case(format!("{name}, in pieces"), [Chop(1, up(Text, payload))], outcome.clone()));
        cases.push(case(format!("{name}, in fragments"), [Send(fragments(Text, payload, 1))], outcome.clone()));
        let (last, others) = payload.split_last().expect("a text");
        let between = others.iter().enumerate().flat_map(|(at, byte)| {
            [part(if at == 0 { Text } else { Continuation }, [*byte]), up(Pong, "between")].concat()
        });
        let end = up(if others.is_empty() { Text } else { Continuation }, [*last]);
        let steps = [Send(between.chain(end).collect())];
        cases.push(case(format!("{name}, in fragments with others between"), steps, outcome));
    }
    // A character that an empty fragment cuts: the endpoint overlooks it, the gateway does not.
    for bad in [&b"\xce"[..], b"\xce\xba\xe1\xbd", b"ok\xf4\x8f\xbf"] {
        let steps = [Send(part(Text, bad)), Send(up(Continuation, ""))];
        let case = case("6.14 cut by an empty fragment", steps, [text(bad), closed(1000)]);
        cases.push(Case { limited: Some(vec![closed(1007)]), ..case });
    }
    for (name, bad) in [("surrogate", &b"\xed\xa0\x80"[..]), ("past the last", b"\xf4\x90\x80\x80")] {
        // What is wrong with the second fragment ends the connection although the message goes on.
        let good = "κόσμε";
        let steps = [Send(part(Text, good)), Send(part(Continuation, bad)), Await, Send(up(Continuation, good))];
        cases.push(case(format!("6.4 {name}, at once"), steps, [closed(1007)]));
        let long = [good.as_bytes(), bad, &[b'*'; 70_000]].concat();
        let frame = up(Text, &long);
        let (now, later) = frame.split_at(100);
        let steps = [Send(now.to_vec()), Await, Send(later.to_vec())];
        cases.push(case(format!("6.4 {name}, inside a long frame"), steps, [closed(1007)]));
    }
    cases
}

//! The groups but for that of UTF-8.

use super::Step::{Await, Chop, Send};
use super::{Case, Event, case, closed, fragments, long_control, part, pong, text, turned};
use crate::support::{closing, up};
use speechgate::wire::frame::Opcode::{Binary, Close, Continuation, Ping, Pong, Text};

/// 1: framing.
pub(super) fn framing() -> Vec<Case> {
    let mut cases = Vec::new();
    for opcode in [Text, Binary] {
        for size in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537] {
            let payload = vec![if opcode == Text { b'*' } else { 0xfe }; size];
            let frame = up(opcode, &payload);
            let whole = [(opcode, payload.clone()), closed(1000)];
            cases.push(case(format!("1 {opcode:?} of {size}"), [Send(frame.clone())], whole.clone()));
            cases.push(case(format!("1 {opcode:?} of {size}, chopped"), [Chop(997, frame)], whole));
        }
    }
    for (name, bytes) in [
        ("1 two bytes of length for 125", [&[0x82, 0xfe, 0, 125, 0, 0, 0, 0][..], &[0; 125]].concat()),
        ("1 eight bytes of length for 1", [&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0][..], &[0]].concat()),
        ("1 no mask", vec![0x82, 1, 0]),
    ] {
        cases.push(case(name, [Send(bytes)], [closed(1002)]));
    }
    cases
}

/// 2: pings and pongs.
pub(super) fn pings() -> Vec<Case> {
    let ten: Vec<u8> = (0..10).flat_map(|at| up(Ping, format!("payload-{at}"))).collect();
    let pongs: Vec<Event> = (0..10).map(|at| pong(format!("payload-{at}"))).chain([closed(1000)]).collect();
    let binary = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];
    vec![
        case("2.1 without payload", [Send(up(Ping, ""))], [pong(""), closed(1000)]),
        case("2.2 text", [Send(up(Ping, "Hello, world!"))], [pong("Hello, world!"), closed(1000)]),
        case("2.3 binary", [Send(up(Ping, binary))], [pong(binary), closed(1000)]),
        case("2.4 125 bytes", [Send(up(Ping, [0xfe; 125]))], [pong([0xfe; 125]), closed(1000)]),
        case("2.5 126 bytes", [Send(long_control(9, 126))], [closed(1002)]),
        case("2.6 125 bytes, one at a time", [Chop(1, up(Ping, [0xfe; 125]))], [pong([0xfe; 125]), closed(1000)]),
        case("2.7 pong without payload", [Send(up(Pong, ""))], [closed(1000)]),
        case("2.8 pong", [Send(up(Pong, "unsolicited"))], [closed(1000)]),
        case("2.9 pong, ping", [Send(up(Pong, "un")), Send(up(Ping, "ping"))], [pong("ping"), closed(1000)]),
        case("2.10 ten", [Send(ten.clone())], pongs.clone()),
        case("2.11 ten, one byte at a time", [Chop(1, ten)], pongs),
    ]
}

/// 3: reserved bits. 4: opcodes that nobody defined.
pub(super) fn bits_and_opcodes() -> Vec<Case> {
    let mut cases = Vec::new();
    for bits in 1..8 {
        for (opcode, payload) in [(Text, &b"*"[..]), (Binary, b"\0\xff"), (Ping, b"p"), (Close, b"\x03\xe8")] {
            let bad = turned(bits << 4, up(opcode, payload));
            let name = format!("3 bits {bits:03b} on {opcode:?}");
            cases.push(case(name.as_str(), [Send(bad.clone()), Send(up(Ping, ""))], [closed(1002)]));
            let steps = [Send(up(Text, "good")), Await, Chop(1, bad), Send(up(Ping, ""))];
            cases.push(case(name + " after a message", steps, [text("good"), closed(1002)]));
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for payload in ["", "*"] {
            let bad = turned(opcode ^ 2, up(Binary, payload));
            let name = format!("4 opcode {opcode} with {payload:?}");
            cases.push(case(name.as_str(), [Send(bad.clone())], [closed(1002)]));
            let steps = [Send(up(Text, "good")), Await, Chop(1, bad), Send(up(Ping, ""))];
            cases.push(case(name + " after a message", steps, [text("good"), closed(1002)]));
        }
    }
    cases
}

/// 5: fragments.
pub(super) fn fragmentation() -> Vec<Case> {
    let two = [part(Text, "fragment1"), up(Continuation, "fragment2")].concat();
    let echoed = [text("fragment1fragment2"), closed(1000)];
    let between = [part(Text, "fragment1"), up(Ping, "ping"), up(Continuation, "fragment2")].concat();
    let answered = [pong("ping"), text("fragment1fragment2"), closed(1000)];
    let five = [
        part(Text, "fragment1"),
        part(Continuation, "fragment2"),
        up(Ping, "ping1"),
        part(Continuation, ""),
        part(Continuation, "fragment4"),
        up(Ping, "ping2"),
        up(Pong, "nobody asked"),
        up(Continuation, "fragment5"),
    ]
    .concat();
    let all = [pong("ping1"), pong("ping2"), text("fragment1fragment2fragment4fragment5"), closed(1000)];
    let mut cases = vec![
        case("5.1 ping in two", [Send(part(Ping, "1")), Send(up(Continuation, "2"))], [closed(1002)]),
        case("5.2 pong in two", [Send(part(Pong, "1")), Send(up(Continuation, "2"))], [closed(1002)]),
        case("5.2 close in two", [Send(part(Close, "\x03")), Send(up(Continuation, [0xe8]))], [closed(1002)]),
        case(
            "5.15 text in two, part of nothing",
            [Send(two.clone()), Await, Send(part(Continuation, "?"))],
            [text("fragment1fragment2"), closed(1002)],
        ),
        case("5.18 text inside text", [Send(part(Text, "1")), Send(up(Text, "2"))], [closed(1002)]),
        case("5.18 binary inside text", [Send(part(Text, "1")), Send(up(Binary, "2"))], [closed(1002)]),
        case("5.18 text inside binary", [Send(part(Binary, "1")), Send(part(Text, "2"))], [closed(1002)]),
    ];
    for (name, bytes, expected) in
        [("5.3 text in two", two, &echoed[..]), ("5.6 ping between", between, &answered), ("5.19 five", five, &all)]
    {
        cases.push(case(name, [Send(bytes.clone())], expected));
        cases.push(case(format!("{name}, one byte at a time"), [Chop(1, bytes)], expected));
    }
    for (name, bad) in
        [("5.9 end of nothing", up(Continuation, "?")), ("5.12 part of nothing", part(Continuation, "?"))]
    {
        cases.push(case(name, [Send(bad.clone()), Send(up(Text, "late"))], [closed(1002)]));
        cases.push(case(format!("{name}, one byte at a time"), [Chop(1, bad.clone())], [closed(1002)]));
        let steps = [Send(up(Text, "good")), Await, Send(bad)];
        cases.push(case(format!("{name}, after a message"), steps, [text("good"), closed(1002)]));
    }
    for opcode in [Text, Binary] {
        let empty = [part(opcode, ""), part(Continuation, ""), up(Continuation, "")];
        cases.push(case(
            format!("6.1 empty {opcode:?} in three"),
            empty.map(Send),
            [(opcode, Vec::new()), closed(1000)],
        ));
    }
    cases
}

/// 7: closes.
pub(super) fn closes() -> Vec<Case> {
    let close = |code| Send(up(Close, closing(code, "")));
    let large = vec![b'*'; 256 * 1024];
    let mut cases = vec![
        case(
            "7.1.1 after a message",
            [Send(up(Text, "Hello World!")), close(1000)],
            [text("Hello World!"), closed(1000)],
        ),
        case("7.1.2 twice", [close(1000), close(1000)], [closed(1000)]),
        case("7.1.3 then a ping", [close(1000), Send(up(Ping, ""))], [closed(1000)]),
        case("7.1.4 then a text", [close(1000), Send(up(Text, "late"))], [closed(1000)]),
        case(
            "7.1.5 inside a message",
            [Send(part(Text, "fragment1")), close(1000), Send(up(Continuation, "fragment2"))],
            [closed(1000)],
        ),
        case(
            "7.1.6 behind a large message",
            [Send([up(Text, &large), up(Close, closing(1000, "")), up(Ping, "")].concat())],
            [text(&large), closed(1000)],
        ),
        case("7.3.1 without payload", [Send(up(Close, ""))], [(Close, Vec::new())]),
        case("7.3.2 with half a code", [Send(up(Close, [3]))], [closed(1002)]),
        case("7.3.3 with a code", [close(1000)], [closed(1000)]),
        case("7.3.4 with a reason", [Send(up(Close, closing(1000, "Hello World!")))], [closed(1000)]),
        case("7.3.5 with the longest reason", [Send(up(Close, closing(1000, &"*".repeat(123))))], [closed(1000)]),
        case("7.3.6 with a longer one", [Send(long_control(8, 126))], [closed(1002)]),
        case(
            "7.5.1 with a reason that is not UTF-8",
            [Send(up(Close, b"\x03\xe8\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"))],
            [closed(1007)],
        ),
    ];
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
        cases.push(case(format!("7.7 code {code}"), [close(code)], [closed(code)]));
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 5000, 65_535] {
        cases.push(case(format!("7.9 code {code}"), [close(code)], [closed(1002)]));
    }
    cases
}

/// 9: large messages and many of them.
pub(super) fn sizes() -> Vec<Case> {
    let mut cases = Vec::new();
    for opcode in [Text, Binary] {
        let message = vec![b'*'; 1 << 20];
        let expected = [(opcode, message.clone()), closed(1000)];
        for size in [64, 1024, 65_536, 262_144] {
            let frames = fragments(opcode, &message, size);
            cases.push(case(format!("9.3 1 MiB of {opcode:?} in frames of {size}"), [Send(frames)], expected.clone()));
        }
        for size in [64, 512, 2048] {
            let (message, name) = (&message[..65_536], format!("9.5 64 KiB of {opcode:?} in pieces of {size}"));
            cases.push(case(name, [Chop(size, up(opcode, message))], [(opcode, message.to_vec()), closed(1000)]));
        }
        for size in [1 << 18, 1 << 20, 4 << 20, 16 << 20] {
            let message = vec![b'*'; size];
            let expected = [(opcode, message.clone()), closed(1000)];
            cases.push(case(format!("9.1 {opcode:?} of {size}"), [Send(up(opcode, &message))], expected));
        }
        for size in [0, 16, 1024, 4096] {
            let message = vec![b'*'; size];
            let steps = vec![[Send(up(opcode, &message)), Await]; 200].concat();
            let expected: Vec<Event> = vec![(opcode, message); 200].into_iter().chain([closed(1000)]).collect();
            cases.push(case(format!("9.7 200 of {opcode:?} of {size}"), steps, expected));
        }
        // Larger messages than 16 MiB are refused, whole or in fragments.
        let message = vec![b'*'; (16 << 20) + 1];
        for (name, frames) in [("whole", up(opcode, &message)), ("in fragments", fragments(opcode, &message, 8 << 20))]
        {
            let expected = [(opcode, message.clone()), closed(1000)];
            let case = case(format!("9.1 {opcode:?} past the limit, {name}"), [Send(frames)], expected);
            cases.push(Case { limited: Some(vec![closed(1009)]), ..case });
        }
    }
    cases
}

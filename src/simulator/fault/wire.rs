//! Failures of a WebSocket that have nothing to do with what is said on it: broken frames, silence, a lost connection.

use super::provider::normalized;
use crate::simulator::script::Action;
use bytes::{BufMut, Bytes, BytesMut};

/// A failure that only a socket has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireFault {
    /// Its name, without `net-`.
    pub name: &'static str,
    /// What the client sees.
    pub what: &'static str,
    effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Drop,
    Mute,
    Dead,
    Bytes(&'static [u8]),
    Half,
    HugeFrame,
    Flood,
    Text(&'static str),
}

/// Every failure that only a socket has.
pub const WIRE_FAULTS: &[WireFault] = &[
    row("drop", "the connection ends without a close frame", Effect::Drop),
    row("mute", "nothing more is sent; pings are answered", Effect::Mute),
    row("dead", "nothing more is sent or read", Effect::Dead),
    row("garbage-frame", "bytes that are no frame", Effect::Bytes(b"\xff\xffthis is no frame")),
    row("bad-opcode", "a frame with a reserved opcode", Effect::Bytes(b"\x83\x02{}")),
    row("bad-control", "a control frame with a reserved opcode", Effect::Bytes(b"\x8b\x00")),
    row("rsv", "a frame with a reserved bit, as if it were compressed", Effect::Bytes(b"\xc1\x02{}")),
    row("masked-frame", "a frame with a mask, which servers must not send", Effect::Bytes(b"\x81\x82\0\0\0\0{}")),
    row("bad-utf8", "a text that is not UTF-8", Effect::Bytes(b"\x81\x0c{\"a\":\"\xc3\x28\xff\xfe\"}")),
    row("long-ping", "a ping of more than 125 bytes", Effect::Bytes(LONG_PING)),
    row("split-ping", "a ping in fragments", Effect::Bytes(b"\x09\x01a")),
    row("lost-continuation", "a continuation of nothing", Effect::Bytes(b"\x80\x02{}")),
    row(
        "broken-fragments",
        "a new message in the middle of another's fragments",
        Effect::Bytes(b"\x01\x01{\x81\x02{}"),
    ),
    row("short-close", "a close frame with half a code", Effect::Bytes(b"\x88\x01\x03")),
    row("bad-close-code", "a close frame with a code that must not be sent", Effect::Bytes(b"\x88\x02\x03\xed")),
    row("bad-close-utf8", "a close reason that is not UTF-8", Effect::Bytes(b"\x88\x05\x03\xf3\xff\xfe\xfd")),
    row("empty-close", "a close frame without a code", Effect::Bytes(b"\x88\x00")),
    row("half-frame", "a frame that is cut short", Effect::Half),
    row("huge-frame", "a frame that promises 2^62 bytes", Effect::HugeFrame),
    row("ping-flood", "ten thousand pings", Effect::Flood),
    row("not-json", "a text that is no JSON", Effect::Text("<html>502 Bad Gateway</html>")),
    row("json-cut", "JSON that breaks off", Effect::Text("{\"type\":\"err")),
    row("empty-text", "an empty text", Effect::Text("")),
];

/// 126 bytes, with the length in its long form.
const LONG_PING: &[u8] = &{
    let mut ping = [b'p'; 130];
    (ping[0], ping[1], ping[2], ping[3]) = (0x89, 126, 0, 126);
    ping
};

const fn row(name: &'static str, what: &'static str, effect: Effect) -> WireFault {
    WireFault { name, what, effect }
}

/// The failure of that name; case and punctuation do not matter.
pub(super) fn find(name: &str) -> Option<&'static WireFault> {
    WIRE_FAULTS.iter().find(|fault| normalized(fault.name) == normalized(name))
}

impl WireFault {
    /// What the provider does.
    pub(crate) fn actions(&self) -> Vec<Action> {
        match self.effect {
            Effect::Drop => vec![Action::Drop],
            Effect::Mute => vec![Action::Mute],
            Effect::Dead => vec![Action::Dead],
            // Whoever notices ends the connection; if nobody does, it stays silent.
            Effect::Bytes(bytes) => vec![Action::Raw(Bytes::from_static(bytes)), Action::Mute],
            Effect::Half => vec![Action::Raw(Bytes::from_static(b"\x81\x7e\x10\x00{\"type\":\"chu")), Action::Drop],
            Effect::HugeFrame => {
                let mut frame = BytesMut::from(&b"\x82\x7f"[..]);
                frame.put_u64(1 << 62);
                frame.put_bytes(0, 64 * 1024);
                vec![Action::Raw(frame.freeze()), Action::Mute]
            }
            Effect::Flood => vec![Action::Raw(Bytes::from(b"\x89\x04ping".repeat(10_000)))],
            Effect::Text(text) => vec![Action::Text(text.to_owned())],
        }
    }
}

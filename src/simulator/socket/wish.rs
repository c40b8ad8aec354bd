//! What a caller of a socket asked for: which failure, and at which moment.

use super::session::Act;
use crate::simulator::Provider;
use crate::simulator::engine::strip;
use crate::simulator::fault::{self, Fault, Moment, plain};
use crate::simulator::net::{self, NetFault, Silence};
use bytes::{BufMut, Bytes, BytesMut};

/// A failure, and its moment.
#[derive(Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) what: What,
    pub(crate) when: When,
    /// Whether the name says when.
    pub(crate) explicit: bool,
}

#[derive(Clone, Copy)]
pub(crate) enum What {
    Fault(&'static Fault),
    Close(u16),
    Net(&'static NetFault),
    Wire(&'static WireFault),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// The upgrade is refused.
    Handshake,
    /// Right after the upgrade, instead of a greeting.
    Open,
    /// Instead of the answer to a message.
    Answer,
    /// After some of the answer.
    Mid,
    /// Instead of the message that ends the answer.
    End,
}

const MOMENTS: [(&str, When); 5] = [
    ("handshake-", When::Handshake),
    ("open-", When::Open),
    ("answer-", When::Answer),
    ("mid-", When::Mid),
    ("end-", When::End),
];

impl Wish {
    /// What `name` stands for: `[handshake-|open-|answer-|mid-|end-](<code>|close-<code>|net-<name>)`.
    pub(crate) fn read(provider: Provider, name: &str) -> Option<Wish> {
        let bare = |what| Wish { what, when: When::Answer, explicit: false };
        if let Some(fault) = fault::find(provider, name) {
            return Some(bare(What::Fault(fault)));
        }
        let told = MOMENTS.iter().find_map(|(prefix, when)| match strip(name, prefix) {
            (true, rest) => Some((*when, rest)),
            _ => None,
        });
        let Some((when, rest)) = told else {
            return what(provider, name).map(bare);
        };
        let what = what(provider, rest)?;
        let possible = match (when, what) {
            (When::Handshake, What::Fault(fault)) => fault.moment != Moment::Frame,
            (When::Handshake, what) => matches!(what, What::Net(_)),
            _ => true,
        };
        possible.then_some(Wish { what, when, explicit: true })
    }

    /// Whether it only happens once there is a socket, so that what leads there succeeds.
    pub(crate) fn needs_socket(&self) -> bool {
        match self.what {
            What::Fault(fault) if !self.explicit => fault.moment == Moment::Frame,
            What::Net(_) if !self.explicit => false,
            _ => self.when != When::Handshake,
        }
    }
}

fn what(provider: Provider, name: &str) -> Option<What> {
    if let (true, net) = strip(name, "net-") {
        let wire = WIRE_FAULTS.iter().find(|fault| plain(fault.name) == plain(net)).map(What::Wire);
        return wire.or_else(|| net::find(net).map(What::Net));
    }
    if let Some(fault) = fault::find(provider, name) {
        return Some(What::Fault(fault));
    }
    let (true, code) = strip(name, "close-") else { return None };
    code.parse().ok().filter(|code| (1000..5000).contains(code)).map(What::Close)
}

/// A failure of a socket that has nothing to do with what is said on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireFault {
    /// Its name, without `net-`.
    pub name: &'static str,
    /// What the caller sees.
    pub what: &'static str,
    act: Wire,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Drop,
    Mute,
    Dead,
    Bytes(&'static [u8]),
    Half,
    HugeFrame,
    Flood,
    Text(&'static str),
}

/// Every failure that only a socket knows.
pub const WIRE_FAULTS: &[WireFault] = &[
    row("drop", "the connection ends without a close frame", Wire::Drop),
    row("mute", "nothing is said any more; pings are answered", Wire::Mute),
    row("dead", "nothing is said and nothing is read any more", Wire::Dead),
    row("garbage-frame", "bytes that are no frame", Wire::Bytes(b"\xff\xffthis is no frame")),
    row("bad-opcode", "a frame with a reserved opcode", Wire::Bytes(b"\x83\x02{}")),
    row("bad-control", "a control frame with a reserved opcode", Wire::Bytes(b"\x8b\x00")),
    row("rsv", "a frame with a reserved bit, as if it were compressed", Wire::Bytes(b"\xc1\x02{}")),
    row("masked-frame", "a frame with a mask, which servers must not send", Wire::Bytes(b"\x81\x82\0\0\0\0{}")),
    row("bad-utf8", "a text that is not UTF-8", Wire::Bytes(b"\x81\x0c{\"a\":\"\xc3\x28\xff\xfe\"}")),
    row("long-ping", "a ping of more than 125 bytes", Wire::Bytes(LONG_PING)),
    row("split-ping", "a ping in fragments", Wire::Bytes(b"\x09\x01a")),
    row("lost-continuation", "a continuation of nothing", Wire::Bytes(b"\x80\x02{}")),
    row("broken-fragments", "a new message in the middle of another's fragments", Wire::Bytes(b"\x01\x01{\x81\x02{}")),
    row("short-close", "a close frame with half a code", Wire::Bytes(b"\x88\x01\x03")),
    row("bad-close-code", "a close frame with a code that must not be sent", Wire::Bytes(b"\x88\x02\x03\xed")),
    row("bad-close-utf8", "a close reason that is not UTF-8", Wire::Bytes(b"\x88\x05\x03\xf3\xff\xfe\xfd")),
    row("empty-close", "a close frame without a code", Wire::Bytes(b"\x88\x00")),
    row("half-frame", "a frame that is cut short", Wire::Half),
    row("huge-frame", "a frame that promises 2^62 bytes", Wire::HugeFrame),
    row("ping-flood", "ten thousand pings", Wire::Flood),
    row("not-json", "a text that is no JSON", Wire::Text("<html>502 Bad Gateway</html>")),
    row("json-cut", "JSON that breaks off", Wire::Text("{\"type\":\"err")),
    row("empty-text", "an empty text", Wire::Text("")),
];

/// 126 bytes, told in the long form.
const LONG_PING: &[u8] = &{
    let mut ping = [b'p'; 130];
    (ping[0], ping[1], ping[2], ping[3]) = (0x89, 126, 0, 126);
    ping
};

const fn row(name: &'static str, what: &'static str, act: Wire) -> WireFault {
    WireFault { name, what, act }
}

impl WireFault {
    pub(crate) fn acts(&self) -> Vec<Act> {
        match self.act {
            Wire::Drop => vec![Act::Drop],
            Wire::Mute => vec![Act::Mute],
            Wire::Dead => vec![Act::Dead],
            // Whoever notices ends the connection; if nobody does, it stays silent.
            Wire::Bytes(bytes) => vec![Act::Raw(Bytes::from_static(bytes)), Act::Mute],
            Wire::Half => vec![Act::Raw(Bytes::from_static(b"\x81\x7e\x10\x00{\"type\":\"chu")), Act::Drop],
            Wire::HugeFrame => {
                let mut frame = BytesMut::from(&b"\x82\x7f"[..]);
                frame.put_u64(1 << 62);
                frame.put_bytes(0, 64 * 1024);
                vec![Act::Raw(frame.freeze()), Act::Mute]
            }
            Wire::Flood => vec![Act::Raw(Bytes::from(b"\x89\x04ping".repeat(10_000)))],
            Wire::Text(text) => vec![Act::Text(text.to_owned())],
        }
    }
}

/// What a failure of the network is once there is a socket.
pub(crate) fn after_upgrade(fault: &NetFault) -> Vec<Act> {
    match fault.silence() {
        Silence::Reset => vec![Act::Reset],
        Silence::Stays => vec![Act::Mute],
        Silence::Ends => vec![Act::Drop],
    }
}

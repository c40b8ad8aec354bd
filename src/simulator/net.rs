//! Failures of the network, the same for every provider: `fault-net-<name>`.

use super::Answer;
use super::fault::plain;
use super::stream::{FLUSH, Played, Step};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use std::io::Write;
use std::sync::LazyLock;
use std::time::Duration;

/// One failure of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetFault {
    /// Its name, without `net-`.
    pub name: &'static str,
    /// What the caller sees.
    pub what: &'static str,
    act: Act,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Reset,
    Hang,
    SlowHead,
    Raw(&'static [u8]),
    BodyCut { status: u16, told: Option<u64> },
    BodyHang { status: u16 },
    BadGzip,
    GzipBomb,
    Html,
    Huge,
    Nested,
}

/// Every failure of the network.
pub const NET_FAULTS: &[NetFault] = &[
    row("reset", "the connection is reset instead of an answer", Act::Reset),
    row("empty", "the connection is closed instead of an answer", Act::Raw(b"")),
    row("hang", "no answer, ever", Act::Hang),
    row("slow-head", "a header line every quarter of a second, without an end", Act::SlowHead),
    row(
        "garbage",
        "bytes that are not HTTP",
        Act::Raw(b"\x16\x03\x01\x00\x02\x02\x28speech\x00\xff\xfe{]<not http>\r\n\r\n"),
    ),
    row("head-cut", "the head of the answer is cut short", Act::Raw(b"HTTP/1.1 200 OK\r\ncontent-type: applica")),
    row("body-cut", "fewer bytes than content-length tells", Act::BodyCut { status: 200, told: Some(100_000) }),
    row("chunk-cut", "a chunked body without its last chunk", Act::BodyCut { status: 200, told: None }),
    row("body-hang", "a body that stops and stays", Act::BodyHang { status: 200 }),
    row("error-cut", "an error whose body is cut short", Act::BodyCut { status: 500, told: Some(4_000) }),
    row("error-hang", "an error whose body stops and stays", Act::BodyHang { status: 503 }),
    row("bad-gzip", "an error that says gzip and is not", Act::BadGzip),
    row("gzip-bomb", "an error of 100 MiB in 100 kB of gzip", Act::GzipBomb),
    row("html-502", "a load balancer's page", Act::Html),
    row("10mb", "an error with a message of 10 MB", Act::Huge),
    row("nested", "an error nested 100,000 deep", Act::Nested),
];

const fn row(name: &'static str, what: &'static str, act: Act) -> NetFault {
    NetFault { name, what, act }
}

/// How a connection falls silent.
pub(crate) enum Silence {
    Reset,
    Stays,
    Ends,
}

/// What a failure of the network does.
pub(crate) enum Sabotage {
    /// It answers after all.
    Answer(Box<Answer>),
    /// It takes the connection away from HTTP.
    Raw { steps: Box<dyn Iterator<Item = Step> + Send>, reset: bool },
}

/// The failure of that name; case and punctuation do not matter.
pub(crate) fn find(name: &str) -> Option<&'static NetFault> {
    NET_FAULTS.iter().find(|fault| plain(fault.name) == plain(name))
}

impl NetFault {
    /// What comes instead of an answer.
    pub(crate) fn sabotage(&self) -> Sabotage {
        let raw = |steps: Vec<Step>, reset| Sabotage::Raw { steps: Box::new(steps.into_iter()), reset };
        match self.act {
            Act::Reset => raw(vec![], true),
            Act::Hang => raw(vec![Step::Hang], false),
            Act::Raw(bytes) => raw(vec![Step::Send(Bytes::from_static(bytes)), Step::Pause(FLUSH)], false),
            Act::SlowHead => {
                let lines = std::iter::repeat_n(
                    [Step::Pause(Duration::from_millis(250)), Step::Send(Bytes::from_static(b"x-drip: 1\r\n"))],
                    2_400,
                );
                let head = Step::Send(Bytes::from_static(b"HTTP/1.1 200 OK\r\n"));
                Sabotage::Raw { steps: Box::new(std::iter::once(head).chain(lines.flatten())), reset: false }
            }
            Act::BodyCut { status, told } => answer(status, begun(Step::Cut), &[], told),
            Act::BodyHang { status } => answer(status, begun(Step::Hang), &[], None),
            Act::BadGzip => answer(
                500,
                Played::whole(&b"\x1f\x8b\x08\x00this is not gzip"[..]),
                &[(CONTENT_ENCODING, "gzip")],
                None,
            ),
            Act::GzipBomb => answer(500, Played::whole(bomb()), &[(CONTENT_ENCODING, "gzip")], None),
            Act::Html => answer(502, Played::whole(HTML), &[(CONTENT_TYPE, "text/html")], None),
            Act::Huge => answer(500, Played::whole(huge()), &[], None),
            Act::Nested => answer(500, Played::whole(nested()), &[], None),
        }
    }

    /// What comes in the middle of a stream.
    pub(crate) fn in_stream(&self) -> Vec<Step> {
        match self.silence() {
            Silence::Stays => vec![Step::Hang],
            Silence::Reset | Silence::Ends => vec![Step::Pause(FLUSH), Step::Cut],
        }
    }

    /// What is left of it when HTTP is over.
    pub(crate) fn silence(&self) -> Silence {
        match self.act {
            Act::Hang | Act::SlowHead | Act::BodyHang { .. } => Silence::Stays,
            Act::Reset => Silence::Reset,
            _ => Silence::Ends,
        }
    }
}

fn begun(then: Step) -> Played {
    let start = Step::Send(Bytes::from_static(b"{\"detail\":\"the beginning of"));
    Played::steps(Box::new([start, Step::Pause(FLUSH), then].into_iter()))
}

fn answer(status: u16, body: Played, headers: &[(http::HeaderName, &'static str)], length: Option<u64>) -> Sabotage {
    let mut answer = Answer::new(StatusCode::from_u16(status).unwrap_or_default(), body);
    answer.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in headers {
        answer.headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(length) = length {
        answer.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Sabotage::Answer(Box::new(answer))
}

const HTML: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";

fn huge() -> Bytes {
    static BODY: LazyLock<Bytes> = LazyLock::new(|| {
        let message = "0123456789".repeat(1_000_000);
        Bytes::from(format!("{{\"detail\":\"{message}\",\"message\":\"late\"}}"))
    });
    BODY.clone()
}

fn nested() -> Bytes {
    static BODY: LazyLock<Bytes> =
        LazyLock::new(|| Bytes::from(format!("{}0{}", "{\"error\":[".repeat(50_000), "]}".repeat(50_000))));
    BODY.clone()
}

fn bomb() -> Bytes {
    static BODY: LazyLock<Bytes> = LazyLock::new(|| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let blank = vec![b' '; 1024 * 1024];
        let written = (0..100).try_for_each(|_| gzip.write_all(&blank)).and_then(|()| gzip.finish());
        // Writing to memory does not fail.
        Bytes::from(written.unwrap_or_default())
    });
    BODY.clone()
}

//! Failures of the network, the same for every provider: `fault-net-<name>`.

use super::provider::normalized;
use crate::simulator::body::{PacedBody, Reply};
use crate::simulator::script::{FLUSH, Step};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use std::io::Write;
use std::sync::LazyLock;
use std::time::Duration;

/// One failure of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetFault {
    /// Its name, without `net-`.
    pub name: &'static str,
    /// What the client sees.
    pub what: &'static str,
    effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Reset,
    Hang,
    SlowHead,
    Raw(&'static [u8]),
    BodyCut { status: u16, announced: Option<u64> },
    BodyHang { status: u16 },
    BadGzip,
    GzipBomb,
    Html,
    Huge,
    Nested,
}

/// Every failure of the network.
pub const NET_FAULTS: &[NetFault] = &[
    row("reset", "the connection is reset instead of an answer", Effect::Reset),
    row("empty", "the connection is closed instead of an answer", Effect::Raw(b"")),
    row("hang", "no answer, ever", Effect::Hang),
    row("slow-head", "a header line every quarter of a second, without an end", Effect::SlowHead),
    row(
        "garbage",
        "bytes that are not HTTP",
        Effect::Raw(b"\x16\x03\x01\x00\x02\x02\x28speech\x00\xff\xfe{]<not http>\r\n\r\n"),
    ),
    row("head-cut", "the head of the answer is cut short", Effect::Raw(b"HTTP/1.1 200 OK\r\ncontent-type: applica")),
    row(
        "body-cut",
        "fewer bytes than content-length announces",
        Effect::BodyCut { status: 200, announced: Some(100_000) },
    ),
    row("chunk-cut", "a chunked body without its last chunk", Effect::BodyCut { status: 200, announced: None }),
    row("body-hang", "a body that stops and stays", Effect::BodyHang { status: 200 }),
    row("error-cut", "an error whose body is cut short", Effect::BodyCut { status: 500, announced: Some(4_000) }),
    row("error-hang", "an error whose body stops and stays", Effect::BodyHang { status: 503 }),
    row("bad-gzip", "an error that says gzip and is not", Effect::BadGzip),
    row("gzip-bomb", "an error of 100 MiB in 100 kB of gzip", Effect::GzipBomb),
    row("html-502", "a load balancer's page", Effect::Html),
    row("10mb", "an error with a message of 10 MB", Effect::Huge),
    row("nested", "an error nested 100,000 deep", Effect::Nested),
];

const fn row(name: &'static str, what: &'static str, effect: Effect) -> NetFault {
    NetFault { name, what, effect }
}

/// How a connection falls silent.
pub(crate) enum Silence {
    Reset,
    Stays,
    Ends,
}

/// The failure of that name; case and punctuation do not matter.
pub(super) fn find(name: &str) -> Option<&'static NetFault> {
    NET_FAULTS.iter().find(|fault| normalized(fault.name) == normalized(name))
}

impl NetFault {
    /// What comes instead of an answer.
    pub(crate) fn reply(&self) -> Reply {
        let raw = |steps: Vec<Step>, reset| Reply::Raw { steps: Box::new(steps.into_iter()), reset };
        match self.effect {
            Effect::Reset => raw(vec![], true),
            Effect::Hang => raw(vec![Step::Hang], false),
            Effect::Raw(bytes) => raw(vec![Step::Send(Bytes::from_static(bytes)), Step::Pause(FLUSH)], false),
            Effect::SlowHead => {
                let lines = std::iter::repeat_n(
                    [Step::Pause(Duration::from_millis(250)), Step::Send(Bytes::from_static(b"x-drip: 1\r\n"))],
                    2_400,
                );
                let head = Step::Send(Bytes::from_static(b"HTTP/1.1 200 OK\r\n"));
                Reply::Raw { steps: Box::new(std::iter::once(head).chain(lines.flatten())), reset: false }
            }
            Effect::BodyCut { status, announced } => response(status, begun(Step::Cut), &[], announced),
            Effect::BodyHang { status } => response(status, begun(Step::Hang), &[], None),
            Effect::BadGzip => response(
                500,
                PacedBody::whole(&b"\x1f\x8b\x08\x00this is not gzip"[..]),
                &[(CONTENT_ENCODING, "gzip")],
                None,
            ),
            Effect::GzipBomb => response(500, PacedBody::whole(bomb()), &[(CONTENT_ENCODING, "gzip")], None),
            Effect::Html => response(502, PacedBody::whole(HTML), &[(CONTENT_TYPE, "text/html")], None),
            Effect::Huge => response(500, PacedBody::whole(huge()), &[], None),
            Effect::Nested => response(500, PacedBody::whole(nested()), &[], None),
        }
    }

    /// What comes in the middle of a stream.
    pub(crate) fn in_stream(&self) -> Vec<Step> {
        match self.silence() {
            Silence::Stays => vec![Step::Hang],
            Silence::Reset | Silence::Ends => vec![Step::Pause(FLUSH), Step::Cut],
        }
    }

    /// What it is on a connection that no longer speaks HTTP.
    pub(crate) fn silence(&self) -> Silence {
        match self.effect {
            Effect::Hang | Effect::SlowHead | Effect::BodyHang { .. } => Silence::Stays,
            Effect::Reset => Silence::Reset,
            _ => Silence::Ends,
        }
    }
}

fn begun(then: Step) -> PacedBody {
    let start = Step::Send(Bytes::from_static(b"{\"detail\":\"the beginning of"));
    PacedBody::steps(Box::new([start, Step::Pause(FLUSH), then].into_iter()))
}

fn response(status: u16, body: PacedBody, headers: &[(http::HeaderName, &'static str)], length: Option<u64>) -> Reply {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in headers {
        fields.insert(name, HeaderValue::from_static(value));
    }
    if let Some(length) = length {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response.into()
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

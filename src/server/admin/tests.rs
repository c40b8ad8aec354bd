use super::*;
use http_body::Frame;
use http_body_util::{BodyExt, Empty};
use std::task::{Context, Poll};
use tower::ServiceExt;

type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

async fn ask<B>(line: &str, length: Option<usize>, body: B) -> Answer
where
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    let admin = Admin {
        ready: AtomicBool::new(true),
        metrics: Arc::new(|_, _| panic!("as the test wants it")),
        config: Box::new(|| "the configuration\n".to_owned()),
        reload: Box::new(|| Box::pin(async { Ok("reloaded\n".to_owned()) })),
        clear_waits: Box::new(|route| route.is_none_or(|route| route == "a b").then_some(2)),
        pages: Box::new(|path, _| {
            (path == "/errors").then(|| Page { content_type: "text/html", body: Bytes::from_static(b"x") })
        }),
    };
    let (method, path) = line.split_once(' ').expect("a method and a path");
    let mut request = Request::builder().method(method).uri(path);
    if let Some(length) = length {
        request = request.header(header::CONTENT_LENGTH, length);
    }
    let request = request.body(body).expect("a request");
    service(Arc::new(admin)).oneshot(request).await.unwrap_or_else(|never| match never {})
}

fn checked(answer: &Answer, status: u16) {
    assert_eq!(answer.status(), status);
    for (name, value) in HEADERS {
        assert_eq!(answer.headers().get(&name).map(HeaderValue::as_bytes), Some(value.as_bytes()), "{status} {name}");
    }
}

/// A body without a known length.
struct Pieces(Option<usize>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            None => Poll::Pending,
            Some(0) => Poll::Ready(None),
            Some(left) => {
                *left -= 1;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 1024])))))
            }
        }
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers() {
    for (line, status) in [
        ("GET /livez", 200),
        ("GET /config", 200),
        ("GET /", 200),
        ("GET /errors", 200),
        ("POST /errors", 405),
        ("POST /-/reload", 200),
        ("GET /nothing", 404),
        ("GET /-/waits", 405),
        ("DELETE /-/waits", 200),
        ("DELETE /-/waits?route=a%20b", 200),
        ("DELETE /-/waits?route=c", 404),
        ("GET /-/reload", 405),
        ("GET /metrics", 500),
    ] {
        checked(&ask(line, None, Empty::<Bytes>::new()).await, status);
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_are_bounded_in_size_and_time() {
    checked(&ask("POST /-/reload", None, Pieces(Some(BODY_BYTES / 1024))).await, 200);
    checked(&ask("POST /-/reload", None, Pieces(Some(BODY_BYTES / 1024 + 1))).await, 413);
    checked(&ask("POST /-/reload", Some(BODY_BYTES + 1), Pieces(None)).await, 413);
    checked(&ask("POST /-/reload", None, Pieces(None)).await, 408);
}

#[tokio::test]
async fn a_panic_is_told_in_words() {
    let answer = ask("GET /metrics", None, Empty::<Bytes>::new()).await;
    let frame = answer.into_body().frame().await.expect("a body").expect("no failure");
    assert!(frame.data_ref().is_some_and(|data| data.starts_with(b"the gateway failed")));
}

//! The admin listener: health, metrics, configuration, reload. Never on the listener that callers use.

use super::listen::Listener;
use crate::telemetry::exposition;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Connections at one time. Probes, a scraper and a few people need no more.
const CONNECTIONS: usize = 64;
/// How long a head may take, and how long an idle connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a whole connection may last, so that one that does not read cannot hold its place for good.
const CONNECTION_LIMIT: Duration = Duration::from_secs(300);
const HEADER_BYTES: usize = 16 * 1024;

const TEXT: &str = "text/plain; charset=utf-8";
const INDEX: &str = "speechgate\n\n/livez      whether the process runs\n/readyz     whether it takes requests\n\
                     /metrics    metrics in the text format of Prometheus\n/config     the running configuration, secrets as stars\n\
                     /-/reload   POST: load the configuration files again\n";

/// What the admin listener shows and does.
pub struct Admin {
    /// Whether requests are taken.
    pub ready: AtomicBool,
    /// Appends the metrics.
    pub metrics: Box<dyn Fn(&mut String) + Send + Sync>,
    /// The running configuration with secrets as stars.
    pub config: Box<dyn Fn() -> String + Send + Sync>,
    /// Loads the configuration again; the text says what happened.
    pub reload: Box<dyn Fn() -> Result<String, String> + Send + Sync>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("ready", &self.ready).finish_non_exhaustive()
    }
}

/// Serves until it is dropped.
pub async fn serve(admin: Arc<Admin>, listener: Listener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let socket = match listener.accept().await {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%error, "accepting on the admin listener pauses");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let admin = Arc::clone(&admin);
        drop(tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = answer(&admin, &request);
                async { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_header_size(HEADER_BYTES)
                .max_buf_size(HEADER_BYTES)
                .serve_connection(TokioIo::new(socket), service);
            let _ = tokio::time::timeout(CONNECTION_LIMIT, connection).await;
            drop(place);
        }));
    }
}

fn answer(admin: &Admin, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (path, method) = (request.uri().path(), request.method());
    let allowed = match path {
        "/" | "/livez" | "/readyz" | "/metrics" | "/config" => "GET, HEAD",
        "/-/reload" => "POST",
        _ => return text(StatusCode::NOT_FOUND, "there is nothing here\n".to_owned()),
    };
    if !allowed.split(", ").any(|name| name == method.as_str()) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("use {allowed}\n"));
        let _ = response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
        return response;
    }
    match path {
        "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" if admin.ready.load(Ordering::Acquire) => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned()),
        "/metrics" => {
            let mut metrics = String::new();
            (admin.metrics)(&mut metrics);
            with_type(StatusCode::OK, exposition::CONTENT_TYPE, metrics)
        }
        "/config" => text(StatusCode::OK, (admin.config)()),
        "/-/reload" => match (admin.reload)() {
            Ok(done) => text(StatusCode::OK, done),
            Err(problems) => text(StatusCode::BAD_REQUEST, problems),
        },
        _ => text(StatusCode::OK, INDEX.to_owned()),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    with_type(status, TEXT, body)
}

fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let _ = headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    let _ = headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let _ = headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

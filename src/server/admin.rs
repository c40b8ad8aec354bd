//! The admin listener: health, metrics, configuration, reload. Never on the listener that clients use.
//!
//! Nothing here is performance-critical, so ready-made layers do what the proxied listener does with plain calls. `service`
//! lists them in order, with the reason for each.

use super::listen::Listener;
use super::origin;
use super::status::Page;
use crate::telemetry::exposition::Format;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header, request};
use http_body::Body;
use http_body_util::{Full, LengthLimitError};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::any::Any;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tower::{BoxError, Service, ServiceBuilder};
use tower_http::body::UnsyncBoxBody;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

/// Connections at one time: enough for probes, a scraper and a few people.
const CONNECTIONS: usize = 64;
/// Timeout of a request head, and of an idle connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest life of a connection, so that a client that does not read cannot occupy it for ever.
const CONNECTION_LIMIT: Duration = Duration::from_secs(300);
/// How long a connection that is closed in favour of another may still take.
const LAST_CALL: Duration = Duration::from_secs(1);
const HEADER_BYTES: usize = 16 * 1024;
/// No request here needs a body; one that is sent is read up to this size, for this long.
const BODY_BYTES: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

const TEXT: &str = "text/plain; charset=utf-8";
const INDEX: &str = "speechgate\n\n/           for browsers: what fails, since when, and what to do\n\
                     /errors     every code, what to do about it, what maps to it\n/livez      whether the process runs\n/readyz     whether it takes requests\n\
                     /metrics    metrics in the text format of Prometheus\n/config     the running configuration, secrets as stars\n\
                     /tenants    who may call, and what each has used\n\
                     /-/reload   POST: load the configuration files again\n\
                     /-/waits    DELETE: end what providers asked to wait for; ?route=NAME for one route\n";
/// Headers of every response: not cached, the declared media type, and no page that loads anything from elsewhere or is framed.
const HEADERS: [(HeaderName, &str); 3] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; connect-src 'self'; img-src 'self'; script-src 'self'; style-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
];

/// Appends text in a format.
pub type Render = dyn Fn(Format, &mut String) + Send + Sync;

/// What the admin listener shows and does.
pub struct Admin {
    /// Whether requests are taken.
    pub ready: AtomicBool,
    /// Appends the metrics in a format.
    pub metrics: Arc<Render>,
    /// The running configuration with secrets as stars.
    pub config: Box<dyn Fn() -> String + Send + Sync>,
    /// Loads the configuration again; the text says what happened.
    pub reload: Box<dyn Fn() -> Reloading + Send + Sync>,
    /// Ends the backoffs that providers asked for, on the route of this name or on all routes; none when there is no such route.
    pub clear_waits: Box<ClearWaits>,
    /// The status page and what belongs to it, by path and query; none when there is no such page.
    pub pages: Box<Pages>,
}

/// Ends backoffs and returns how many there were.
pub type ClearWaits = dyn Fn(Option<&str>) -> Option<usize> + Send + Sync;

/// What finds a page by its path and query.
pub type Pages = dyn Fn(&str, &str) -> Option<Page> + Send + Sync;

/// A reload under way.
pub type Reloading = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("ready", &self.ready).finish_non_exhaustive()
    }
}

/// Serves until it is dropped. When all connections are taken, the oldest one is closed, so that idle connections shut nobody
/// out.
pub async fn serve(admin: Arc<Admin>, listener: Listener) {
    // Connections that are closing do not count.
    let places = Arc::new(Semaphore::new(2 * CONNECTIONS));
    let mut open: VecDeque<oneshot::Sender<()>> = VecDeque::new();
    let service = TowerToHyperService::new(service(admin));
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
        open.retain(|connection| !connection.is_closed());
        if open.len() >= CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            let _ = oldest.send(());
        }
        let (end, asked_to_end) = oneshot::channel();
        open.push_back(end);
        let service = service.clone();
        drop(tokio::spawn(async move {
            let mut connection = pin!(
                http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .max_header_size(HEADER_BYTES)
                    .max_buf_size(HEADER_BYTES)
                    .serve_connection(TokioIo::new(socket), service)
            );
            tokio::select! {
                _ = connection.as_mut() => {}
                () = tokio::time::sleep(CONNECTION_LIMIT) => {}
                Ok(()) = asked_to_end => {
                    // A request in progress is still answered; an idle connection ends at once.
                    connection.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(LAST_CALL, connection).await;
                }
            }
            drop(place);
        }));
    }
}

/// What answers the requests of all connections, from the outside in.
fn service<B>(
    admin: Arc<Admin>,
) -> impl Service<Request<B>, Response = Response<UnsyncBoxBody<Bytes, BoxError>>, Error = Infallible, Future: Send> + Clone
where
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    let [caching, sniffing, policy] =
        HEADERS.map(|(name, value)| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value)));
    ServiceBuilder::new()
        // Outermost, so that the answers which the layers below give by themselves carry these headers too.
        .layer(caching)
        .layer(sniffing)
        .layer(policy)
        // Around everything that can panic, so that a failed scrape gets a response and its connection survives.
        .layer(CatchPanicLayer::custom(panicked))
        // Around everything that waits: a body that does not arrive ends the request, not the connection.
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, BODY_TIMEOUT))
        // Innermost, because it changes the body type: a declared length that is too large is refused unread.
        .layer(RequestBodyLimitLayer::new(BODY_BYTES))
        .service_fn(move |request: Request<_>| {
            let admin = Arc::clone(&admin);
            async move {
                let (parts, body) = request.into_parts();
                // Read, so that the connection can carry the next request.
                Ok(match read_through(body).await {
                    Ok(()) => dispatch(&admin, &parts).await,
                    Err(rejection) => rejection,
                })
            }
        })
}

/// Discards a body; returns the response to one that is too large or does not end.
async fn read_through(body: impl Body<Error = BoxError>) -> Result<(), Response<Full<Bytes>>> {
    let mut body = pin!(body);
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        if let Err(error) = frame {
            let status = match error.is::<LengthLimitError>() {
                true => StatusCode::PAYLOAD_TOO_LARGE,
                false => StatusCode::BAD_REQUEST,
            };
            return Err(text(status, format!("{error}\n")));
        }
    }
    Ok(())
}

/// The response when [`dispatch`] has panicked; the panic itself has been logged.
fn panicked(_: Box<dyn Any + Send>) -> Response<Full<Bytes>> {
    text(StatusCode::INTERNAL_SERVER_ERROR, "the gateway failed with an internal error; see its log\n".to_owned())
}

async fn dispatch(admin: &Admin, request: &request::Parts) -> Response<Full<Bytes>> {
    let (path, method) = (request.uri.path(), &request.method);
    if let Err((status, problem)) = origin::check(request) {
        return text(status, problem.to_owned());
    }
    // A client that does not accept HTML gets the list of paths.
    let page = if path != "/" || wants_html(request) {
        (admin.pages)(path, request.uri.query().unwrap_or_default())
    } else {
        None
    };
    let allowed = match path {
        "/" | "/livez" | "/readyz" | "/metrics" | "/config" => "GET, HEAD",
        "/-/reload" => "POST",
        "/-/waits" => "DELETE",
        _ if page.is_some() => "GET, HEAD",
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
            let accept = request.headers.get_all(header::ACCEPT).iter();
            let format = Format::accepted(accept.filter_map(|line| line.to_str().ok()));
            let metrics = render(&admin.metrics, format).await;
            let mut response = with_type(StatusCode::OK, format.content_type(), metrics);
            let _ = response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
            response
        }
        "/config" => text(StatusCode::OK, (admin.config)()),
        "/-/reload" => match (admin.reload)().await {
            Ok(done) => text(StatusCode::OK, done),
            Err(problems) => text(StatusCode::BAD_REQUEST, problems),
        },
        "/-/waits" => clear_waits(admin, request),
        _ => match page {
            Some(page) => respond(StatusCode::OK, page.content_type, page.body),
            None => text(StatusCode::OK, INDEX.to_owned()),
        },
    }
}

/// Renders the metrics on a blocking thread: with thousands of routes it takes long enough to hold up the connections of a
/// worker.
async fn render(metrics: &Arc<Render>, format: Format) -> String {
    let metrics = Arc::clone(metrics);
    let rendered = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        metrics(format, &mut text);
        text
    });
    match rendered.await {
        Ok(text) => text,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(_) => String::new(),
        },
    }
}

/// `DELETE /-/waits`: ends backoffs.
fn clear_waits(admin: &Admin, request: &request::Parts) -> Response<Full<Bytes>> {
    let query = request.uri.query().unwrap_or_default();
    let route = query.split('&').find_map(|pair| pair.strip_prefix("route="));
    let route = route.map(|name| String::from_utf8_lossy(&crate::proxy::path::decode(name.as_bytes())).into_owned());
    match (admin.clear_waits)(route.as_deref()) {
        Some(1) => text(StatusCode::OK, "1 wait ended\n".to_owned()),
        Some(count) => text(StatusCode::OK, format!("{count} waits ended\n")),
        None => text(StatusCode::NOT_FOUND, "there is no such route\n".to_owned()),
    }
}

fn wants_html(request: &request::Parts) -> bool {
    let accepted = request.headers.get_all(header::ACCEPT).iter();
    accepted.into_iter().any(|value| value.as_bytes().windows(9).any(|part| part == b"text/html"))
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    with_type(status, TEXT, body)
}

fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    respond(status, content_type, Bytes::from(body))
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let _ = response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests;

//! What a simulated provider sends, and when: a body is a sequence of steps, a WebSocket session a sequence of actions.

use bytes::Bytes;
use http::HeaderMap;
use std::time::Duration;

/// One step of a body, or of a connection that was taken away from HTTP.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Send these bytes.
    Send(Bytes),
    /// End the body with these trailers.
    Trailers(Box<HeaderMap>),
    /// Wait.
    Pause(Duration),
    /// Break off without a proper end.
    Cut,
    /// Send nothing more, and keep the connection open.
    Hang,
    /// Take the connection away from HTTP, and neither send nor read anything more.
    Freeze,
}

/// Steps, made as they are needed.
pub(crate) type Steps = Box<dyn Iterator<Item = Step> + Send>;

/// What takes a connection away from HTTP: the steps that are played on it, and whether a reset ends it.
pub(crate) type Takeover = (Steps, bool);

/// How long the last bytes get to leave before the connection is cut.
pub(crate) const FLUSH: Duration = Duration::from_millis(20);

/// One action on a WebSocket.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Text(String),
    Binary(Bytes),
    Pause(Duration),
    /// A pause that is as long at every pace.
    Wait(Duration),
    /// Bytes written below the codec, which would refuse to make them.
    Raw(Bytes),
    Close(u16, String),
    /// End the connection without a close frame.
    Drop,
    Reset,
    /// Send nothing more; pings are still answered.
    Mute,
    /// Neither send nor read anything more.
    Dead,
}

/// Actions, made as they are needed.
pub(crate) type Actions = Box<dyn Iterator<Item = Action> + Send>;

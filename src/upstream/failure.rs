//! What went wrong, told from the errors of the libraries. The only place where those are inspected.

use super::send_progress::{BoxError, SendProgress};
use crate::canon::Fault;
use rustix::io::Errno;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::io;

/// A call that brought no answer, or an answer that broke off.
#[derive(Debug)]
pub struct Failure {
    /// What happened, in the closed vocabulary.
    pub fault: Fault,
    /// The libraries' words. For our log alone: they may name addresses and paths.
    pub detail: String,
    /// The error of the client's request body, unchanged, when that is what ended the call. The fault is then
    /// only a default; whoever made the body type knows better and downcasts this.
    pub request_body: Option<BoxError>,
}

impl Failure {
    pub(super) fn new(fault: Fault, detail: impl Into<String>) -> Failure {
        Failure { fault, detail: detail.into(), request_body: None }
    }

    /// A failure that was noticed outside this module.
    #[must_use]
    pub fn of(fault: Fault) -> Failure {
        Failure::new(fault, "")
    }

    /// The provider stopped sending in the middle of its answer.
    #[must_use]
    pub fn stalled() -> Failure {
        Failure::of(Fault::ResponseStalled)
    }

    /// The client's own body failed first; the rest is a consequence.
    fn of_request_body(error: BoxError) -> Failure {
        Failure { fault: Fault::BadRequestBody, detail: chain(&*error), request_body: Some(error) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.fault.sentence())
    }
}

impl Error for Failure {}

/// A name that could not be resolved, with the resolver's words.
pub(super) fn of_lookup(error: String) -> Failure {
    // The system's resolver needs descriptors of its own, and does not always say that it got none.
    let exhausted = std::net::UdpSocket::bind(("127.0.0.1", 0)).err().is_some_and(|error| is_ours(&error));
    Failure::new(if exhausted { Fault::NoSockets } else { Fault::DnsError }, error)
}

/// A connection attempt that the system refused.
pub(super) fn of_connect(error: &io::Error) -> Failure {
    let fault = match error.kind() {
        _ if is_ours(error) => Fault::NoSockets,
        io::ErrorKind::ConnectionRefused => Fault::ConnectRefused,
        io::ErrorKind::TimedOut => Fault::ConnectTimeout,
        _ => Fault::ConnectFailed,
    };
    Failure::new(fault, error.to_string())
}

/// Whether the system refused for lack of something of ours, which is no fault of the provider's.
fn is_ours(error: &io::Error) -> bool {
    let ours = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|number| ours.iter().any(|errno| errno.raw_os_error() == number))
}

/// A TLS handshake that did not end well. `tokio-rustls` wraps the error of rustls in an [`io::Error`].
pub(super) fn of_handshake(error: &io::Error) -> Failure {
    let fault = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => Fault::TlsCertificate,
        Some(rustls::Error::AlertReceived(_)) => Fault::TlsAlert,
        _ => Fault::TlsProtocol,
    };
    Failure::new(fault, error.to_string())
}

/// A connection on which HTTP could not be begun.
pub(super) fn of_preface(error: &hyper::Error) -> Failure {
    Failure::new(Fault::ConnectionClosed, chain(error))
}

/// What is known about a call besides the error.
pub(super) struct Evidence<'a> {
    /// How far the request body has come.
    pub(super) progress: &'a SendProgress,
    /// Whether the connection brought any byte since the request was handed over. Unknown and false on HTTP/2.
    pub(super) answered: bool,
    /// Whether writing had failed before the error was noticed by reading.
    pub(super) write_failed: bool,
}

/// A call that ended before the head of an answer was complete.
pub(super) fn of_head(error: &hyper::Error, evidence: &Evidence<'_>) -> Failure {
    if let Some(error) = evidence.progress.take_error() {
        return Failure::of_request_body(error);
    }
    let fault = if error.is_parse_too_large() {
        Fault::ResponseHeadTooLarge
    } else if error.is_parse() {
        Fault::ResponseHeadInvalid
    } else if let Some(error) = find::<h2::Error>(error) {
        of_http2(error, Fault::ResponseHeadInvalid, Fault::ConnectionClosed)
    } else if error.is_canceled() && evidence.answered {
        // Bytes came before a request was written: whatever this is, it does not speak HTTP.
        Fault::ResponseHeadInvalid
    } else if evidence.answered {
        Fault::ResponseHeadIncomplete
    } else if evidence.write_failed || (evidence.progress.is_running() && find::<io::Error>(error).is_some()) {
        Fault::RequestWriteFailed
    } else {
        Fault::ConnectionClosed
    };
    Failure::new(fault, chain(error))
}

/// An answer that broke off after its head.
pub(super) fn of_body(error: &hyper::Error, progress: &SendProgress) -> Failure {
    match progress.take_error() {
        Some(error) => Failure::of_request_body(error),
        None => Failure::new(body_fault(error), chain(error)),
    }
}

/// An HTTP/2 answer whose stream ended without END_STREAM.
pub(super) fn of_cut_stream(progress: &SendProgress) -> Failure {
    match progress.take_error() {
        Some(error) => Failure::of_request_body(error),
        None => Failure::new(Fault::ResponseBodyIncomplete, "the stream was reset with NO_ERROR before its end"),
    }
}

/// What an error of an answer's body means: cut off, or not validly framed.
pub(super) fn body_fault(error: &hyper::Error) -> Fault {
    if let Some(error) = find::<h2::Error>(error) {
        return of_http2(error, Fault::ResponseBodyInvalid, Fault::ResponseBodyIncomplete);
    }
    match find::<io::Error>(error).map(io::Error::kind) {
        // The chunked decoder speaks of bad framing with these two; a cut is `UnexpectedEof` or the socket's own.
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Fault::ResponseBodyInvalid,
        _ => Fault::ResponseBodyIncomplete,
    }
}

/// What an error of a client's request body means: badly framed, or broken off.
pub(crate) fn request_fault(error: &hyper::Error) -> Fault {
    if let Some(error) = find::<h2::Error>(error) {
        return of_http2(error, Fault::BadRequestBody, Fault::ClientLeft);
    }
    match find::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Fault::BadRequestBody,
        _ if error.is_parse() => Fault::BadRequestBody,
        _ => Fault::ClientLeft,
    }
}

/// Whether a provider said over HTTP/2 that it has not processed the request (RFC 9113 8.7). h2 reports a GOAWAY only to the
/// streams behind the last one that it names, whatever its reason; those before go on until they end or the connection does.
pub(super) fn was_refused(error: &hyper::Error) -> bool {
    find::<h2::Error>(error).is_some_and(|error| {
        error.is_remote() && (error.reason() == Some(h2::Reason::REFUSED_STREAM) || error.is_go_away())
    })
}

/// An HTTP/2 error is either ours (the peer broke the protocol) or the peer's (it ended stream or connection).
fn of_http2(error: &h2::Error, invalid: Fault, ended: Fault) -> Fault {
    let broken = matches!(
        error.reason(),
        Some(
            h2::Reason::PROTOCOL_ERROR
                | h2::Reason::FRAME_SIZE_ERROR
                | h2::Reason::COMPRESSION_ERROR
                | h2::Reason::FLOW_CONTROL_ERROR
        )
    );
    if broken && !error.is_remote() { invalid } else { ended }
}

/// The first error of type `E` in the chain of causes.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The whole chain of causes in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {error}");
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{Code, Origin};

    #[test]
    fn what_this_system_lacks_is_no_fault_of_the_provider() {
        for (errno, expected) in [
            (Errno::MFILE, Fault::NoSockets),
            (Errno::NFILE, Fault::NoSockets),
            (Errno::NOBUFS, Fault::NoSockets),
            (Errno::NOMEM, Fault::NoSockets),
            (Errno::ADDRNOTAVAIL, Fault::NoSockets),
            (Errno::CONNREFUSED, Fault::ConnectRefused),
            (Errno::TIMEDOUT, Fault::ConnectTimeout),
            (Errno::HOSTUNREACH, Fault::ConnectFailed),
        ] {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            assert_eq!(of_connect(&error).fault, expected, "{error}");
        }
    }

    #[test]
    fn running_out_of_descriptors_is_not_the_providers_fault() {
        for (error, fault) in [
            (io::Error::from_raw_os_error(24), Fault::NoSockets),
            (io::Error::from_raw_os_error(23), Fault::NoSockets),
            (io::ErrorKind::ConnectionRefused.into(), Fault::ConnectRefused),
            (io::ErrorKind::NetworkUnreachable.into(), Fault::ConnectFailed),
        ] {
            assert_eq!(of_connect(&error).fault, fault, "{error}");
        }
        assert_eq!(of_lookup("no such name".to_owned()).fault, Fault::DnsError);
        let fault = Fault::NoSockets;
        assert_eq!((fault.code(), fault.origin(), fault.status()), (Code::Overloaded, Origin::Gateway, 503));
    }
}

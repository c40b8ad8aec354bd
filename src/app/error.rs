//! Why the gateway could not start, and what to do about it.

use crate::config::types::Listen;
use crate::server::listen::Address;
use crate::server::tls::TlsError;
use std::fmt;
use std::io::{self, ErrorKind};

/// Why the gateway could not start.
#[derive(Debug)]
pub enum StartError {
    /// A file for TLS cannot be used.
    Tls(TlsError),
    /// A route cannot work; the text names it.
    Route(String),
    /// The listener of this table of the configuration could not be bound.
    Listen(&'static str, Listen, io::Error),
    /// The operating system refused something else.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Tls(error) => write!(f, "server.tls: {error}"),
            StartError::Route(problem) => f.write_str(problem),
            StartError::Listen(table, listen, error) => {
                write!(f, "cannot listen on {}: {}", Address(listen), why(listen, error))?;
                let variable = table.to_uppercase();
                write!(f, "\nAnother address goes into `listen` of [{table}], or into SPEECHGATE__{variable}__LISTEN.")
            }
            StartError::System(error) => error.fmt(f),
        }
    }
}

/// The reason, with what to do about it.
fn why(listen: &Listen, error: &io::Error) -> String {
    let low = matches!(listen, Listen::Tcp(address) if address.port() < 1024);
    match (error.kind(), listen) {
        (ErrorKind::AddrInUse, _) => "another process has it; `ss -lp` says which".to_owned(),
        (ErrorKind::AddrNotAvailable, _) => {
            "this machine has no such address; 0.0.0.0 means all that it has".to_owned()
        }
        (ErrorKind::PermissionDenied, _) if low => {
            "ports below 1024 are for root and for processes with CAP_NET_BIND_SERVICE".to_owned()
        }
        (ErrorKind::PermissionDenied, Listen::Unix(_)) => "this user may not make a file there".to_owned(),
        (ErrorKind::NotFound, Listen::Unix(_)) => "there is no such folder".to_owned(),
        _ => error.to_string(),
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> StartError {
        StartError::System(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_says_what_to_do() {
        let tcp = |port| Listen::Tcp(([127, 0, 0, 1], port).into());
        let unix = || Listen::Unix("/run/none/gateway.sock".into());
        for (table, listen, kind, words) in [
            ("server", tcp(8080), ErrorKind::AddrInUse, "127.0.0.1:8080: another process has it"),
            ("admin", tcp(9464), ErrorKind::AddrInUse, "SPEECHGATE__ADMIN__LISTEN"),
            ("server", tcp(443), ErrorKind::PermissionDenied, "CAP_NET_BIND_SERVICE"),
            ("server", tcp(8443), ErrorKind::AddrNotAvailable, "0.0.0.0"),
            ("server", unix(), ErrorKind::NotFound, "unix:/run/none/gateway.sock: there is no such folder"),
            ("server", unix(), ErrorKind::PermissionDenied, "may not make a file there"),
            ("server", tcp(8080), ErrorKind::OutOfMemory, "`listen` of [server]"),
        ] {
            let told = StartError::Listen(table, listen, kind.into()).to_string();
            assert!(told.contains(words), "{told}");
        }
    }
}

//! A gateway with one provider behind it: the usual cast of a test.

use super::{Answer, Client, Gateway, Provider, Settings};

/// A gateway and its provider.
pub(crate) struct World {
    /// The gateway, with the routes `/p`, `/c` and `/q`.
    pub(crate) gateway: Gateway,
    /// The provider behind all of them.
    pub(crate) provider: Provider,
}

impl World {
    /// The standard configuration.
    pub(crate) fn start() -> World {
        World::with(|settings| settings)
    }

    /// The standard configuration, changed.
    pub(crate) fn with(change: impl FnOnce(Settings) -> Settings) -> World {
        let provider = Provider::start();
        let gateway = Gateway::start(&change(Settings::standard(provider.address())));
        World { gateway, provider }
    }

    /// The standard routes in front of a provider with a mind of its own.
    pub(crate) fn around(provider: Provider, change: impl FnOnce(Settings) -> Settings) -> World {
        let gateway = Gateway::start(&change(Settings::standard(provider.address())));
        World { gateway, provider }
    }

    /// A new connection.
    pub(crate) fn client(&self) -> Client {
        self.gateway.client()
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        self.client().send(request).answer()
    }

    /// A GET on a connection of its own.
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask(get(target))
    }

    /// Fails when the gateway ever sent the provider anything but strict, unambiguous HTTP/1.1.
    pub(crate) fn clean(&self) {
        let flaws = self.provider.flaws();
        assert!(flaws.is_empty(), "forwarded: {flaws:?}");
    }

    /// Fails unless an ordinary request still works and reaches the provider as its only one.
    pub(crate) fn sound(&self) -> Result<(), String> {
        self.provider.forget();
        let _ = self.provider.take();
        let answer = self.get("/p/still-there");
        let seen: Vec<String> = self.provider.take().into_iter().map(|seen| seen.line).collect();
        match (answer.status, seen.as_slice()) {
            (200, [only]) if only == "GET /still-there HTTP/1.1" => Ok(()),
            (status, seen) => Err(format!("afterwards a plain request got {status}, and the provider saw {seen:?}")),
        }
    }
}

/// A plain GET.
pub(crate) fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: gateway.test\r\n\r\n").into_bytes()
}

/// A GET with further header lines, each ending in CRLF.
pub(crate) fn get_with(target: &str, lines: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: gateway.test\r\n{lines}\r\n").into_bytes()
}

/// A POST with Content-Length.
pub(crate) fn post(target: &str, body: &str) -> Vec<u8> {
    format!("POST {target} HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// An answer with a JSON body.
pub(crate) fn json_answer(status: u16, lines: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{lines}\r\n{body}"
    )
    .into_bytes()
}

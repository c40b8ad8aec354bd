//! TLS towards providers: trust, sessions and ALPN, shared by all workers.

use crate::config::types::Upstream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The client side of TLS, built once per set of trusted certificates, so that sessions are resumed across workers.
#[derive(Debug, Default)]
pub struct TlsShared {
    /// The platform's certificates, read when the first upstream needs them.
    platform: OnceLock<Result<Arc<Configs>, String>>,
    files: Mutex<Files>,
}

/// By CA file: what was in it, and what was made of it.
type Files = HashMap<PathBuf, (Vec<u8>, Arc<Configs>)>;

/// Which protocols are offered in a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alpn {
    /// `h2`, `http/1.1`
    Any,
    /// `http/1.1`
    Http1,
    /// `h2`
    Http2,
}

/// One set of trusted certificates, once for each offer.
#[derive(Debug)]
struct Configs {
    any: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl TlsShared {
    /// Nothing is read yet.
    #[must_use]
    pub fn new() -> TlsShared {
        TlsShared::default()
    }

    /// Reads what this upstream needs and says what is wrong with it: to be called when a configuration is loaded.
    /// A CA file that has changed since the last call is taken over for the connections to come.
    ///
    /// # Errors
    /// A sentence for the operator: the CA file cannot be read or has no certificate, the platform has none, or the
    /// host cannot be a certificate's name.
    pub fn for_upstream(&self, upstream: &Upstream) -> Result<(), String> {
        if !upstream.tls {
            return Ok(());
        }
        server_name(upstream)?;
        match &upstream.ca_file {
            None => self.platform().map(drop),
            Some(path) => self.load(path).map(drop),
        }
    }

    /// What a connection to this upstream uses. Loads what nobody has asked for before.
    pub(super) fn config(&self, upstream: &Upstream, alpn: Alpn) -> Result<Arc<ClientConfig>, String> {
        let configs = match &upstream.ca_file {
            None => self.platform()?,
            Some(path) => {
                let known = self.files().get(path).map(|(_, configs)| Arc::clone(configs));
                known.map_or_else(|| self.load(path), Ok)?
            }
        };
        Ok(Arc::clone(match alpn {
            Alpn::Any => &configs.any,
            Alpn::Http1 => &configs.http1,
            Alpn::Http2 => &configs.http2,
        }))
    }

    fn platform(&self) -> Result<Arc<Configs>, String> {
        self.platform
            .get_or_init(|| {
                let found = rustls_native_certs::load_native_certs();
                let mut roots = RootCertStore::empty();
                // Platforms carry a few certificates that no parser takes; the others are still good.
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    return Err("the platform has no trusted certificates; install ca-certificates or name a ca_file"
                        .to_owned());
                }
                Configs::new(roots)
            })
            .clone()
    }

    fn load(&self, path: &Path) -> Result<Arc<Configs>, String> {
        let shown = path.display();
        let pem = std::fs::read(path).map_err(|error| format!("{shown}: {error}"))?;
        if let Some((known, configs)) = self.files().get(path)
            && *known == pem
        {
            return Ok(Arc::clone(configs));
        }
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| format!("{shown}: not valid PEM: {error}"))?;
            roots.add(certificate).map_err(|error| format!("{shown}: not a usable certificate: {error}"))?;
        }
        if roots.is_empty() {
            return Err(format!("{shown}: there is no certificate in this file"));
        }
        let configs = Configs::new(roots)?;
        self.files().insert(path.to_owned(), (pem, Arc::clone(&configs)));
        Ok(configs)
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Configs {
    fn new(roots: RootCertStore) -> Result<Arc<Configs>, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let plain = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Each offer keeps its own sessions, so that none is resumed under a protocol it did not agree on.
        let offer = |protocols: &[&[u8]]| {
            let mut config = plain.clone();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            config.resumption = rustls::client::Resumption::in_memory_sessions(SESSIONS);
            Arc::new(config)
        };
        Ok(Arc::new(Configs {
            any: offer(&[b"h2", b"http/1.1"]),
            http1: offer(&[b"http/1.1"]),
            http2: offer(&[b"h2"]),
        }))
    }
}

/// The name a certificate must be for, which is also sent as SNI.
pub(super) fn server_name(upstream: &Upstream) -> Result<ServerName<'static>, String> {
    ServerName::try_from(upstream.host.clone())
        .map_err(|_| format!("`{}` is neither a host name nor an address", upstream.host))
}

/// Sessions kept per set of certificates: one per provider host is enough, TLS 1.3 keeps a few tickets in each.
const SESSIONS: usize = 256;

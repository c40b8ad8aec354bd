//! TLS towards providers: trust, sessions and ALPN, shared by all workers.

use crate::config::types::{ClientCertificate, Upstream};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
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

/// The files that an upstream names: trusted certificates, and a certificate of one's own.
type Named = (Option<PathBuf>, Option<ClientCertificate>);

/// By their names: what was in the files, and what was made of it.
type Files = HashMap<Named, (Vec<Vec<u8>>, Arc<Configs>)>;

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
    /// A file that has changed since the last call is taken over for the connections to come.
    ///
    /// # Errors
    /// A sentence for the operator: a file cannot be read or has no certificate or key, the platform has none, or the host
    /// cannot be a certificate's name.
    pub fn for_upstream(&self, upstream: &Upstream) -> Result<(), String> {
        if !upstream.tls {
            return Ok(());
        }
        server_name(upstream)?;
        match named(upstream) {
            (None, None) => self.platform().map(drop),
            named => self.load(named).map(drop),
        }
    }

    /// What a connection to this upstream uses. Loads what nobody has asked for before.
    pub(super) fn config(&self, upstream: &Upstream, alpn: Alpn) -> Result<Arc<ClientConfig>, String> {
        let configs = match named(upstream) {
            (None, None) => self.platform()?,
            named => {
                let known = self.files().get(&named).map(|(_, configs)| Arc::clone(configs));
                known.map_or_else(|| self.load(named), Ok)?
            }
        };
        Ok(Arc::clone(match alpn {
            Alpn::Any => &configs.any,
            Alpn::Http1 => &configs.http1,
            Alpn::Http2 => &configs.http2,
        }))
    }

    fn platform(&self) -> Result<Arc<Configs>, String> {
        self.platform.get_or_init(|| Configs::new(platform_roots()?, None)).clone()
    }

    fn load(&self, named: Named) -> Result<Arc<Configs>, String> {
        let (ca, own) = &named;
        let own_files = own.iter().flat_map(|own| [&own.certificate, &own.private_key]);
        let read: Vec<Vec<u8>> = ca.iter().chain(own_files).map(read).collect::<Result<_, _>>()?;
        if let Some((known, configs)) = self.files().get(&named)
            && *known == read
        {
            return Ok(Arc::clone(configs));
        }
        let mut texts = read.iter();
        let roots = match (ca, ca.as_ref().and_then(|_| texts.next())) {
            (Some(path), Some(pem)) => roots(path, pem)?,
            _ => platform_roots()?,
        };
        let own = match (own, texts.next(), texts.next()) {
            (Some(own), Some(chain), Some(key)) => Some(identity(own, chain, key)?),
            _ => None,
        };
        let configs = Configs::new(roots, own)?;
        self.files().insert(named, (read, Arc::clone(&configs)));
        Ok(configs)
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn named(upstream: &Upstream) -> Named {
    (upstream.ca_file.clone(), upstream.client_certificate.clone())
}

fn read(path: &PathBuf) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn platform_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Platforms carry a few certificates that no parser takes; the others are still good.
    roots.add_parsable_certificates(found.certs);
    match roots.is_empty() {
        true => {
            Err("the platform has no trusted certificates; install ca-certificates or name a file as `ca`".to_owned())
        }
        false => Ok(roots),
    }
}

fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, pem)? {
        roots.add(certificate).map_err(|error| format!("{}: not a usable certificate: {error}", path.display()))?;
    }
    Ok(roots)
}

/// At least one.
fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| format!("{shown}: not valid PEM: {error}"))?;
    if found.is_empty() {
        return Err(format!("{shown}: there is no certificate in this file"));
    }
    Ok(found)
}

/// A certificate chain and its key.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(own: &ClientCertificate, chain: &[u8], key: &[u8]) -> Result<Identity, String> {
    let chain = certificates(&own.certificate, chain)?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| format!("{}: not a usable private key: {error}", own.private_key.display()))?;
    Ok((chain, key))
}

impl Configs {
    fn new(roots: RootCertStore, own: Option<Identity>) -> Result<Arc<Configs>, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let plain = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_root_certificates(roots);
        let plain = match own {
            None => plain.with_no_client_auth(),
            Some((chain, key)) => plain
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("the client certificate and its key cannot be used: {error}"))?,
        };
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

//! TLS towards callers: HTTP/1.1 and HTTP/2 by ALPN, and mutual TLS when a client CA is given.

use crate::config::types::ServerTls;
use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that cannot be used, and why.
#[derive(Debug)]
pub struct TlsError {
    file: PathBuf,
    problem: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.problem)
    }
}

impl std::error::Error for TlsError {}

impl TlsError {
    fn new(file: &Path, problem: impl fmt::Display) -> TlsError {
        TlsError { file: file.to_owned(), problem: problem.to_string() }
    }

    fn pem(file: &Path, what: &str, error: PemError) -> TlsError {
        match error {
            PemError::Io(error) => TlsError::new(file, error),
            PemError::NoItemsFound => TlsError::new(file, format_args!("there is no {what} in PEM form in it")),
            error => TlsError::new(file, format_args!("not a valid PEM file: {error:?}")),
        }
    }
}

/// The configuration for a listener.
///
/// # Errors
/// When a file cannot be read, or its content cannot be used.
pub fn server_config(tls: &ServerTls) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&tls.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&tls.private_key)
        .map_err(|error| TlsError::pem(&tls.private_key, "private key", error))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(&tls.certificate, error))?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|error| TlsError::new(file, error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| TlsError::new(file, error))?)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::new(&tls.private_key, format_args!("does not go with the certificate: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Resumption without state, shared by the workers; the keys change every few hours and die with the process.
    config.ticketer = ring::Ticketer::new().map_err(|error| TlsError::new(&tls.certificate, error))?;
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = || CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>();
    let certificates = read().map_err(|error| TlsError::pem(file, "certificate", error))?;
    if certificates.is_empty() {
        return Err(TlsError::pem(file, "certificate", PemError::NoItemsFound));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_file_is_named() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name);
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let other = rcgen::KeyPair::generate().expect("a key");
        for (name, content) in [
            ("good.pem", pair.cert.pem()),
            ("good.key", pair.signing_key.serialize_pem()),
            ("other.key", other.serialize_pem()),
            ("empty", String::new()),
            ("broken", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n".to_owned()),
        ] {
            std::fs::write(path(name), content).expect("a file");
        }
        let config = |certificate: &str, key: &str, ca: Option<&str>| {
            let (certificate, private_key) = (path(certificate), path(key));
            server_config(&ServerTls { certificate, private_key, client_ca: ca.map(path) })
                .map(|_| ())
                .map_err(|error| error.to_string())
        };
        assert_eq!(config("good.pem", "good.key", None), Ok(()));
        assert_eq!(config("good.pem", "good.key", Some("good.pem")), Ok(()));
        for (certificate, key, ca, file, words) in [
            ("missing", "good.key", None, "missing", "No such file"),
            ("empty", "good.key", None, "empty", "no certificate"),
            ("broken", "good.key", None, "broken", "not a valid PEM"),
            ("good.pem", "missing", None, "missing", "No such file"),
            ("good.pem", "empty", None, "empty", "no private key"),
            ("good.pem", "other.key", None, "other.key", "does not go with"),
            ("good.pem", "good.key", Some("empty"), "empty", "no certificate"),
        ] {
            let error = config(certificate, key, ca).expect_err("a broken file is refused");
            assert!(error.contains(file) && error.contains(words), "{error}");
        }
    }
}

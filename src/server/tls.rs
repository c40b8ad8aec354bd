//! TLS for clients: HTTP/1.1 and HTTP/2 by ALPN, and mutual TLS when a client CA is given. New files apply to new connections.

use crate::config::types::ServerTls;
use ::ring::digest::{self, SHA256_OUTPUT_LEN};
use arc_swap::ArcSwap;
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
            PemError::NoItemsFound => TlsError::new(file, format_args!("there is no {what} in PEM form in it")),
            error => TlsError::new(file, format_args!("not a valid PEM file: {error:?}")),
        }
    }
}

/// The TLS configuration for clients. Its files may change while the process runs.
#[derive(Debug)]
pub struct Tls(ArcSwap<Made>);

/// A listener's TLS configuration, and a fingerprint of the files that it was made from.
#[derive(Debug)]
pub struct Made {
    config: Arc<ServerConfig>,
    print: [u8; SHA256_OUTPUT_LEN],
}

impl Tls {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// When one cannot be read, or its content cannot be used.
    pub fn new(tls: &ServerTls) -> Result<Arc<Tls>, TlsError> {
        Ok(Arc::new(Tls(ArcSwap::from_pointee(Made::of(&Contents::read(tls)?)?))))
    }

    /// Reads the files again. Returns none if they are unchanged, so that sessions can still be resumed.
    ///
    /// # Errors
    /// When one cannot be read, or its content cannot be used.
    pub fn prepare(&self, tls: &ServerTls) -> Result<Option<Made>, TlsError> {
        let contents = Contents::read(tls)?;
        if contents.print() == self.0.load().print {
            return Ok(None);
        }
        Made::of(&contents).map(Some)
    }

    /// Applies to new connections; open ones are not affected.
    pub fn replace(&self, made: Made) {
        self.0.store(Arc::new(made));
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.load().config)
    }
}

/// The contents of the files, not yet parsed.
struct Contents<'a> {
    certificate: (&'a Path, Vec<u8>),
    private_key: (&'a Path, Vec<u8>),
    client_ca: Option<(&'a Path, Vec<u8>)>,
}

impl<'a> Contents<'a> {
    fn read(tls: &'a ServerTls) -> Result<Contents<'a>, TlsError> {
        let read = |file: &'a Path| match std::fs::read(file) {
            Ok(bytes) => Ok((file, bytes)),
            Err(error) => Err(TlsError::new(file, error)),
        };
        Ok(Contents {
            certificate: read(&tls.certificate)?,
            private_key: read(&tls.private_key)?,
            client_ca: tls.client_ca.as_deref().map(read).transpose()?,
        })
    }

    fn print(&self) -> [u8; SHA256_OUTPUT_LEN] {
        let mut digest = digest::Context::new(&digest::SHA256);
        for (_, bytes) in [&self.certificate, &self.private_key].into_iter().chain(&self.client_ca) {
            digest.update(&bytes.len().to_be_bytes());
            digest.update(bytes);
        }
        let mut print = [0; SHA256_OUTPUT_LEN];
        print.copy_from_slice(digest.finish().as_ref());
        print
    }
}

impl Made {
    fn of(contents: &Contents<'_>) -> Result<Made, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let (certificate, _) = contents.certificate;
        let (private_key, key) = &contents.private_key;
        let chain = certificates(&contents.certificate)?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::pem(private_key, "private key", error))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::new(certificate, error))?;
        let builder = match &contents.client_ca {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(file)? {
                    roots.add(certificate).map_err(|error| TlsError::new(file.0, error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(|error| TlsError::new(file.0, error))?)
            }
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| TlsError::new(private_key, format_args!("does not go with the certificate: {error}")))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Stateless resumption, shared by the workers. The keys are rotated every few hours, and dropped with the process or when
        // the files change: a client that the old CA admitted has to be verified by the new one.
        config.ticketer = ring::Ticketer::new().map_err(|error| TlsError::new(certificate, error))?;
        Ok(Made { config: Arc::new(config), print: contents.print() })
    }
}

fn certificates((file, bytes): &(&Path, Vec<u8>)) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| TlsError::pem(file, "certificate", error))?;
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
            Tls::new(&ServerTls { certificate, private_key, client_ca: ca.map(path) })
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

    #[test]
    fn unchanged_files_are_not_loaded_again() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (certificate, private_key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
        let write = || {
            let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
            std::fs::write(&certificate, pair.cert.pem()).expect("a file");
            std::fs::write(&private_key, pair.signing_key.serialize_pem()).expect("a file");
        };
        write();
        let files = ServerTls { certificate: certificate.clone(), private_key: private_key.clone(), client_ca: None };
        let tls = Tls::new(&files).expect("good files");
        assert!(tls.prepare(&files).expect("good files").is_none());
        write();
        let first = tls.config();
        let made = tls.prepare(&files).expect("good files").expect("other files");
        assert!(Arc::ptr_eq(&first, &tls.config()), "nothing has been replaced yet");
        tls.replace(made);
        assert!(!Arc::ptr_eq(&first, &tls.config()));
        assert!(tls.prepare(&files).expect("good files").is_none());
        std::fs::remove_file(&private_key).expect("a file");
        assert!(tls.prepare(&files).is_err());
    }
}

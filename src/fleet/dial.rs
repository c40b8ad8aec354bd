//! How the backend is reached: over the network, or in a simulation over a network that loses and delays messages on demand.

use redis::aio::{ConnectionLike, MultiplexedConnection, SendError};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, IntoConnectionInfo, Pipeline, ProtocolVersion, PushInfo, RedisError,
    RedisFuture, RedisResult, TlsCertificates, Value,
};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Most requests that may wait to be written.
const PIPELINE: usize = 1024;

/// Receives what the backend pushes: messages, and the loss of the connection.
pub type Pushes = Arc<dyn Fn(&PushInfo) + Send + Sync>;

/// Makes connections to a backend.
pub trait Dial: Send + Sync {
    /// Connects, and subscribes to these channels.
    fn dial(&self, channels: Vec<String>, pushes: Pushes) -> RedisFuture<'_, Connection>;
}

/// What answers requests at the other end of a connection.
pub trait Backend: Send + Sync {
    /// Answers one.
    fn request<'a>(&'a self, command: &'a Cmd) -> RedisFuture<'a, Value>;
}

/// A connection that many tasks share.
#[derive(Clone)]
pub struct Connection(Arc<dyn Backend>);

impl Connection {
    /// One to this backend.
    pub fn new(backend: impl Backend + 'static) -> Connection {
        Connection(Arc::new(backend))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        self.0.request(command)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        // Pipelined: all requests are sent before the first is answered.
        let requests = pipeline.cmd_iter().map(|command| self.0.request(command));
        let answers = futures_util::future::try_join_all(requests);
        Box::pin(async move { Ok(answers.await?.into_iter().skip(offset).take(count).collect()) })
    }

    fn get_db(&self) -> i64 {
        0
    }
}

/// A backend in the network.
pub(super) struct Network(Client);

impl Network {
    /// The backend at a URL. With certificates (PEM), these are trusted in place of the platform's.
    ///
    /// # Errors
    /// When the URL is none, or the certificates are none.
    pub(super) fn new(url: &str, certificates: Option<Vec<u8>>) -> RedisResult<Network> {
        let info = url.into_connection_info()?;
        // Only RESP3 delivers push messages on the same connection.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let settings = settings.set_lib_name("speechgate", env!("CARGO_PKG_VERSION"));
        let info = info.set_redis_settings(settings).set_tcp_settings(TcpSettings::default().set_nodelay(true));
        Ok(Network(match certificates {
            None => Client::open(info)?,
            certificates => {
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: certificates })?
            }
        }))
    }
}

impl Dial for Network {
    fn dial(&self, channels: Vec<String>, pushes: Pushes) -> RedisFuture<'_, Connection> {
        Box::pin(async move {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(None)
                .set_response_timeout(None)
                .set_pipeline_buffer_size(PIPELINE)
                .set_push_sender(move |push: PushInfo| -> Result<(), SendError> {
                    pushes(&push);
                    Ok(())
                });
            let mut connection = self.0.get_multiplexed_async_connection_with_config(&config).await?;
            refuse_groups(&mut connection).await?;
            connection.subscribe(channels).await?;
            Ok(Connection::new(connection))
        })
    }
}

/// Refuses a node of a cluster, which holds only a part of the keys, and a sentinel, which holds none: with either, limits would
/// silently be shared by some gateways only, or by none.
async fn refuse_groups(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let hello = redis::cmd("HELLO").query_async::<BTreeMap<String, Value>>(connection).await;
    // If the user lacks the permission to ask, the operator has restricted the server on purpose and is trusted.
    let mode = hello.ok().and_then(|mut hello| redis::from_redis_value::<String>(hello.remove("mode")?).ok());
    let why = match mode.as_deref() {
        Some("cluster") => "a node of a Redis Cluster, whose keys are spread: limits.backend needs a single server",
        Some("sentinel") => "a Redis Sentinel: limits.backend needs the server that it watches",
        Some(_) | None => return Ok(()),
    };
    Err(RedisError::from((ErrorKind::InvalidClientConfig, why)))
}

impl Backend for MultiplexedConnection {
    fn request<'a>(&'a self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        let mut connection = self.clone();
        Box::pin(async move { connection.send_packed_command(command).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    /// A backend behind a certificate authority of one's own could not be used at all.
    #[tokio::test]
    async fn a_backend_is_trusted_by_certificates_of_its_own() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a server");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("rediss://localhost:{}", listener.local_addr().expect("bound").port());
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        for (certificates, trusted) in [(Some(made.cert.pem().into_bytes()), true), (None, false)] {
            let network = Network::new(&url, certificates).expect("a URL");
            let dialled = network.dial(vec!["c".to_owned()], Arc::new(|_| {}));
            let served = async {
                let (stream, _) = listener.accept().await.expect("a connection");
                let mut first = [0; 1];
                match acceptor.accept(stream).await {
                    Ok(mut stream) => stream.read(&mut first).await.is_ok_and(|count| count == 1 && first == *b"*"),
                    Err(_) => false,
                }
            };
            // The backend goes away without an answer, so that dialling ends.
            let (dialled, asked) = tokio::join!(dialled, served);
            assert!(dialled.is_err());
            assert_eq!(asked, trusted, "what is trusted is spoken to");
        }
    }
}

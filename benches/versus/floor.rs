//! What hyper alone costs: the least proxy that can be made of it, with one thread, one pool and no other duty.
//!
//! It forwards heads and bodies as they are, and lets a request fail with its connection. The difference to it is what the gateway
//! itself costs.

use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};

/// Connections to the provider that wait for their next request.
type Pool = Rc<RefCell<Vec<SendRequest<Incoming>>>>;

/// Serves until the process ends, between the two addresses in a file.
pub(crate) fn run(file: &str) {
    let addresses = std::fs::read_to_string(file).expect("the file with the addresses");
    let mut addresses = addresses.lines().map(|line| line.parse::<SocketAddr>().expect("an address"));
    let (listen, provider) = (addresses.next().expect("two lines"), addresses.next().expect("two lines"));
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::bind(listen).await.expect("the port is free");
        let pool = Pool::default();
        loop {
            let (socket, _) = listener.accept().await.expect("a connection");
            socket.set_nodelay(true).expect("a socket");
            let pool = Rc::clone(&pool);
            let service = service_fn(move |request| forward(Rc::clone(&pool), provider, request));
            drop(spawn_local(http1::Builder::new().serve_connection(TokioIo::new(socket), service)));
        }
    });
}

async fn forward(
    pool: Pool,
    provider: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response<Incoming>, Box<dyn Error + Send + Sync>> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    *request.uri_mut() = target.strip_prefix("/r").unwrap_or(target).parse()?;
    let waiting = std::iter::from_fn(|| pool.borrow_mut().pop()).find(SendRequest::is_ready);
    let mut sender = match waiting {
        Some(sender) => sender,
        None => {
            let socket = TcpStream::connect(provider).await?;
            socket.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioIo::new(socket)).await?;
            drop(spawn_local(connection));
            sender
        }
    };
    let response = sender.send_request(request).await?;
    pool.borrow_mut().push(sender);
    Ok(response)
}

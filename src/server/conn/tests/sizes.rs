//! What is kept for each connection and moved for each request. A future grows without anybody noticing: whatever is rare is boxed, and
//! what is awaited in a block that has captured it has room there twice.

use super::super::exchange::Exchange;
use super::super::respond::respond;
use super::super::serve;
use super::*;
use crate::proxy::Proxy;
use crate::server::drain::Permit;
use crate::server::socket::Socket;
use std::net::SocketAddr;

/// Of the future that a function makes.
fn size<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn a_request_is_small_to_move_and_a_connection_to_keep() {
    type Connection = (Arc<Worker<Proxy>>, Socket, Option<SocketAddr>, Permit);
    type Call = (Arc<Proxy>, Exchange, Arc<Peer>, Request<Incoming>);
    let connection = size(|(worker, socket, address, permit): Connection| serve(worker, socket, address, permit));
    let request = size(|(proxy, exchange, peer, request): Call| respond(proxy, exchange, peer, request));
    assert!(connection <= 640, "{connection} bytes for a connection that waits");
    assert!(request <= 2560, "{request} bytes for each request");
}

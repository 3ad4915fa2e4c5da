use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Mutex,
};

use tokio::net::TcpSocket;

use crate::sync::lock;

/// An address on loopback that refuses every connection for as long as the process lives.
///
/// The port stays bound without ever listening. Freed, it could become the port of another test's
/// server, or the source port of the very connection that is meant to fail, which would then
/// succeed by connecting to itself.
///
/// # Panics
///
/// Panics if no port can be bound.
pub fn refused_addr() -> SocketAddr {
    static BOUND: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());

    let socket = TcpSocket::new_v4().expect("a socket can be opened");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a loopback port can be bound");
    let addr = socket.local_addr().expect("a bound socket has an address");
    lock(&BOUND).push(socket);
    addr
}

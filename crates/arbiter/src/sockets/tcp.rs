//! Binding TCP addresses.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind as bind_socket, ipproto, listen, socket_with,
    sockopt,
};

use super::{Listener, SocketOptions};

/// Listens on `host` (an address or a name; empty means every IPv4 interface) and `port`.
pub(super) fn bind(host: &str, port: u16, options: &SocketOptions) -> io::Result<Listener> {
    let address = resolve(host, port)?;
    let family = if address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // Accepted connections inherit it.
    sockopt::set_tcp_nodelay(&socket, true)?;
    if options.reuse_port {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    // IPV6_V6ONLY stays as the system has it, as in gunicorn: `[::]` usually serves IPv4 as well.
    bind_socket(&socket, &address)?;
    listen(&socket, options.backlog)?;
    Listener::new(socket, None)
}

/// A name is bound by its first IPv4 address if it has one, as in gunicorn: `localhost` is
/// 127.0.0.1.
pub(super) fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    let found: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let preferred = found
        .iter()
        .find(|address| address.is_ipv4())
        .or(found.first());
    preferred
        .copied()
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::ListenAddr;

    fn listening(host: &str) -> SocketAddr {
        match bind(host, 0, &SocketOptions::default()).unwrap().local {
            ListenAddr::Tcp(address) => address,
            ListenAddr::Unix(path) => panic!("bound to {}", path.display()),
        }
    }

    #[test]
    fn port_zero_reports_the_real_port() {
        assert_ne!(listening("127.0.0.1").port(), 0);
    }

    #[test]
    fn localhost_is_the_ipv4_loopback() {
        assert!(listening("localhost").is_ipv4());
    }

    #[test]
    fn an_occupied_port_is_reported_as_such() {
        let first = bind("127.0.0.1", 0, &SocketOptions::default()).unwrap();
        let ListenAddr::Tcp(address) = first.local else {
            panic!("not TCP")
        };
        let refusal = bind("127.0.0.1", address.port(), &SocketOptions::default()).unwrap_err();
        assert_eq!(refusal.raw_os_error(), Some(libc::EADDRINUSE));
    }

    #[test]
    fn with_reuse_port_two_sockets_share_a_port() {
        let options = SocketOptions {
            reuse_port: true,
            ..SocketOptions::default()
        };
        let first = bind("127.0.0.1", 0, &options).unwrap();
        let ListenAddr::Tcp(address) = first.local else {
            panic!("not TCP")
        };
        bind("127.0.0.1", address.port(), &options).unwrap();
    }

    #[test]
    fn an_accepted_connection_sends_without_delay() {
        let listener = bind("127.0.0.1", 0, &SocketOptions::default()).unwrap();
        let ListenAddr::Tcp(address) = listener.local else {
            panic!("not TCP")
        };
        let _client = std::net::TcpStream::connect(address).unwrap();
        let accepted = rustix::net::accept(&listener.fd).unwrap();
        assert!(sockopt::tcp_nodelay(&accepted).unwrap());
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        assert!(bind("no-such-host.invalid", 0, &SocketOptions::default()).is_err());
    }
}

//! The engine answering every request itself with a fixed response: what sockets, parsing and bookkeeping cost without an
//! application. `cargo run --release --example ceiling -- PORT [BODY_BYTES]`; the load harness compares servers with it.

use std::net::TcpListener;
use std::os::fd::OwnedFd;

use oxicorn_engine::{Ending, Engine, Exchange, Now, Options, Poller, Turn};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(8000);
    let size: usize = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(13);
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    let mut poller = Poller::new()?;
    let mut engine = Engine::new(&poller, Options::default(), None)?;
    engine.listen(OwnedFd::from(listener))?;
    let body = b"Hello, world!"
        .iter()
        .copied()
        .cycle()
        .take(size)
        .collect::<Vec<u8>>();
    loop {
        match engine.turn(Now::read()) {
            Turn::Exchange(exchange) => answer(&mut engine, exchange, &body),
            Turn::Notice(_) => {}
            Turn::Idle { again } => {
                poller.wait(again.then_some(std::time::Duration::ZERO))?;
                engine.feed(&mut poller);
            }
        }
    }
}

fn answer(engine: &mut Engine, mut exchange: Box<Exchange>, body: &[u8]) {
    let now = Now::read();
    let mut head = std::mem::take(&mut exchange.response.head);
    head.extend_from_slice(b"HTTP/1.1 200 OK\r\nServer: oxicorn\r\nDate: ");
    head.extend_from_slice(&oxicorn_logs::http_date(now.unix));
    head.extend_from_slice(b"\r\nContent-Type: text/plain\r\nContent-Length: ");
    head.extend_from_slice(itoa::Buffer::new().format(body.len()).as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
    head.extend_from_slice(body);
    engine.send(&exchange, &[&head], now);
    exchange.response.head = head;
    exchange.response.status = 200;
    engine.finish(exchange, Ending::Complete, now);
}

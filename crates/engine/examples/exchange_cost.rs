//! What one exchange costs the engine, without a network to wait for: a client and the engine take turns on one thread,
//! over a connected pair of Unix sockets. Nanoseconds per exchange, or instructions under valgrind.
//!
//! ```text
//! cargo run --release -p oxicorn-engine --example exchange_cost
//! valgrind --tool=callgrind --toggle-collect='*exchange_cost::serve*' \
//!     target/release/examples/exchange_cost 10000 browser
//! callgrind_annotate callgrind.out.*
//! ```
//! The arguments are the number of exchanges and the one script to play: `hello`, `browser` or `post`. What is counted
//! (`serve`) is the server's part: the wait, the turn with reading and parsing, the answer, the turn that finds nothing more.
//! Divide the total by the number of exchanges; the kernel's instructions are not in it. The times include the client's part
//! and the kernel's.
#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use oxicorn_engine::{Ending, Engine, Exchange, Now, Options, Poller, Turn};

const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n";

const BROWSER: &[u8] = b"GET /articles/2026/11/a-day?page=2&sort=new HTTP/1.1\r\n\
Host: www.example.com\r\n\
Connection: keep-alive\r\n\
Cache-Control: max-age=0\r\n\
sec-ch-ua-platform: \"Linux\"\r\n\
Upgrade-Insecure-Requests: 1\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
Sec-Fetch-Mode: navigate\r\n\
Referer: https://www.example.com/articles\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
Cookie: sessionid=0123456789abcdef0123456789abcdef; csrftoken=abcdefghijklmnopqrstuvwxyz012345\r\n\r\n";

const POST_HEAD: &[u8] = b"POST /upload HTTP/1.1\r\nHost: example.com\r\nContent-Length: 10000\r\n\
Content-Type: application/octet-stream\r\n\r\n";

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let count = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(200_000);
    let only = arguments.next();
    let post = [POST_HEAD, &[b'x'; 10_000]].concat();
    let scripts: [(&str, &[u8]); 3] = [("hello", HELLO), ("browser", BROWSER), ("post", &post)];
    for (name, request) in scripts {
        if only.as_deref().is_none_or(|only| only == name) {
            println!("{name:<8} {:>7} ns", Pair::new()?.play(request, count)?);
        }
    }
    Ok(())
}

/// An engine with one client.
struct Pair {
    engine: Engine,
    poller: Poller,
    client: UnixStream,
}

impl Pair {
    fn new() -> io::Result<Self> {
        let name = format!("oxicorn-exchange-cost-{}", std::process::id());
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
        listener.set_nonblocking(true)?;
        let client = UnixStream::connect_addr(&listener.local_addr()?)?;
        let poller = Poller::new()?;
        let mut engine = Engine::new(&poller, Options::default(), None)?;
        engine.listen(OwnedFd::from(listener))?;
        Ok(Self {
            engine,
            poller,
            client,
        })
    }

    /// Nanoseconds for each of `count` exchanges.
    fn play(mut self, request: &[u8], count: u32) -> io::Result<u128> {
        // The connection is accepted, and every buffer has its size.
        for _ in 0..100 {
            self.exchange(request)?;
        }
        let start = Instant::now();
        for _ in 0..count {
            self.exchange(request)?;
        }
        Ok(start.elapsed().as_nanos() / u128::from(count.max(1)))
    }

    fn exchange(&mut self, request: &[u8]) -> io::Result<()> {
        self.client.write_all(request)?;
        while !serve(&mut self.engine, &mut self.poller)? {}
        let mut answer = [0; 512];
        let got = self.client.read(&mut answer)?;
        let answer = answer.get(..got).unwrap_or_default();
        if answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(b"Hello, world!") {
            Ok(())
        } else {
            Err(io::Error::other("a wrong answer"))
        }
    }
}

/// What a driver does for one wake-up. Whether a request was answered.
#[inline(never)]
fn serve(engine: &mut Engine, poller: &mut Poller) -> io::Result<bool> {
    poller.wait(Some(Duration::ZERO))?;
    engine.feed(poller);
    let mut answered = false;
    loop {
        match engine.turn(Now::read()) {
            Turn::Exchange(exchange) => {
                answer(engine, exchange);
                answered = true;
            }
            Turn::Notice(_) => {}
            Turn::Idle { .. } => return Ok(answered),
        }
    }
}

fn answer(engine: &mut Engine, mut exchange: Box<Exchange>) {
    let now = Now::read();
    let mut head = std::mem::take(&mut exchange.response.head);
    head.extend_from_slice(b"HTTP/1.1 200 OK\r\nServer: oxicorn\r\nDate: ");
    head.extend_from_slice(&oxicorn_logs::http_date(now.unix));
    head.extend_from_slice(b"\r\nContent-Length: 13\r\n\r\nHello, world!");
    engine.send(&exchange, &[&head], now);
    exchange.response.head = head;
    exchange.response.status = 200;
    engine.finish(exchange, Ending::Complete, now);
}

//! What one request head costs: nanoseconds per head, or instructions under valgrind.
//!
//! ```text
//! cargo run --release -p oxicorn-http1 --example head_cost
//! valgrind --tool=callgrind --toggle-collect='*Head*parse*' \
//!     target/release/examples/head_cost 1000 wrk
//! ```
//! The arguments are the number of rounds and the one head to read.
#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

use std::hint::black_box;
use std::time::Instant;

use oxicorn_http1::{Body, Head, Limits, Policy, Step};

const WRK: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n";

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

const POST: &[u8] = b"POST /upload HTTP/1.1\r\nHost: example.com\r\nContent-Length: 10000\r\n\
Content-Type: application/octet-stream\r\n\r\n";

fn main() {
    let mut args = std::env::args().skip(1);
    let rounds = args
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000_000);
    let only = args.next();
    let cases: [(&str, &[u8]); 4] = [
        ("wrk", WRK),
        ("browser", BROWSER),
        ("post", POST),
        ("incomplete", &BROWSER[..600]),
    ];
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    for (name, bytes) in cases.into_iter().filter(|(name, _)| wanted(name)) {
        println!(
            "{name:<10} {:>5} bytes  {:>7.1} ns",
            bytes.len(),
            head_cost(bytes, rounds)
        );
    }
    if wanted("chunk") {
        println!(
            "{:<10} {:>5} bytes  {:>7.1} ns",
            "chunk",
            4096,
            chunk_cost(rounds)
        );
    }
}

/// The best of five runs: what disturbs a run only adds to it.
fn best(rounds: u32, mut once: impl FnMut()) -> f64 {
    let run = |_| {
        let start = Instant::now();
        (0..rounds.div_ceil(5)).for_each(|_| once());
        start.elapsed().as_secs_f64() * 1e9 / f64::from(rounds.div_ceil(5))
    };
    (0..5).map(run).fold(f64::INFINITY, f64::min)
}

fn head_cost(bytes: &[u8], rounds: u32) -> f64 {
    let policy = Policy::default();
    let mut head = Head::default();
    best(rounds, || {
        let result = black_box(&mut head).parse(black_box(bytes), black_box(&policy), false);
        assert!(black_box(result).is_ok());
    })
}

/// Finding one chunk of 4 KiB in a body.
fn chunk_cost(rounds: u32) -> f64 {
    let bytes = [b"1000\r\n", &[b'x'; 4096][..], b"\r\n0\r\n\r\n"].concat();
    let limits = Limits::default();
    best(rounds, || {
        let mut body = Body::new(oxicorn_http1::Framing::Chunked, &limits);
        let mut at = 0;
        while let Ok(step) = body.advance(black_box(&bytes[at..])) {
            at += match step {
                Step::Data { skip, len } => skip + len,
                Step::More { .. } | Step::End { .. } => break,
            };
        }
        assert_eq!(at, bytes.len() - 7);
    })
}

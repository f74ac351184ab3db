//! What an echo costs: one message received and sent back. Nanoseconds, or instructions under
//! valgrind.
//!
//! ```text
//! cargo run --release -p oxicorn-websocket --example echo_cost
//! valgrind --tool=callgrind --toggle-collect='*echo_cost*echo*' \
//!     target/release/examples/echo_cost 1000 "64 KiB"
//! ```
//! The arguments are the number of rounds and the one case to run.
#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use flate2::{Compress, Compression, FlushCompress};
use oxicorn_websocket::deflate::{Agreement, Policy, Pool};
use oxicorn_websocket::{Connection, Event, Opening};

const LIMIT: usize = 1 << 20;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const FIN_TEXT: u8 = 0x81;
const RSV1: u8 = 0x40;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let rounds = args.next().map_or(Ok(20_000), |text| text.parse())?;
    let only = args.next();
    for (size, data) in [
        ("100 bytes", json(100)),
        ("64 KiB", json(65_536)),
        (
            "64 KiB of German",
            "Größe über Maß, ".repeat(65_536 / 20).into_bytes(),
        ),
    ] {
        for (how, takeover) in [
            ("plain", None),
            ("shared", Some(false)),
            ("takeover", Some(true)),
        ] {
            let name = format!("{size}, {how}");
            if only
                .as_deref()
                .is_none_or(|only| only == name || only == size)
            {
                let cost = cost(&data, takeover, rounds)?;
                println!("{name:<28} {cost:>10.1} ns");
            }
        }
    }
    Ok(())
}

/// JSON, as applications send it.
fn json(len: usize) -> Vec<u8> {
    let lines = (0..).map(|i| format!("{{\"id\": {i}, \"user\": \"anna\", \"done\": false}}, "));
    lines.flat_map(String::into_bytes).take(len).collect()
}

/// Nanoseconds an echo; the best of five runs, since what disturbs a run only adds to it.
fn cost(data: &[u8], takeover: Option<bool>, rounds: u32) -> Result<f64, Box<dyn Error>> {
    let policy = takeover.map(|takeover| Policy {
        server_takeover: takeover,
        client_takeover: takeover,
        threshold: 0,
        ..Policy::default()
    });
    let agreement = policy.as_ref().map(agree).transpose()?.flatten();
    let batch = u32::try_from(1 + 30_000 / data.len())?;
    let frames = frames(data, takeover, batch)?;
    let mut server = Server {
        connection: Connection::new(LIMIT, None),
        pool: Pool::new(1),
        out: Vec::new(),
    };
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let mut spent = 0.0;
        let batches = rounds.div_ceil(5 * batch);
        for _ in 0..batches {
            server.connection = Connection::new(LIMIT, agreement);
            let mut input = frames.clone();
            let start = Instant::now();
            server.echo(black_box(&mut input));
            spent += start.elapsed().as_secs_f64();
        }
        best = f64::min(best, spent * 1e9 / f64::from(batches * batch));
    }
    Ok(best)
}

struct Server {
    connection: Connection,
    pool: Pool,
    out: Vec<u8>,
}

impl Server {
    #[inline(never)]
    fn echo(&mut self, input: &mut [u8]) {
        let mut at = 0;
        loop {
            let rest = &mut input[at..];
            let step = self.connection.receive(rest, &mut self.pool, &mut self.out);
            at += step.consumed;
            match step.event {
                None => return,
                Some(Event::Message { kind, data }) => {
                    self.out.clear();
                    let sent = self
                        .connection
                        .send(kind, &data, &mut self.pool, &mut self.out);
                    assert!(sent.is_ok());
                }
                Some(event) => assert_eq!(Some(event), None),
            }
        }
    }
}

fn agree(policy: &Policy) -> Result<Option<Agreement>, Box<dyn Error>> {
    let fields: [(&[u8], &[u8]); 5] = [
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        (
            b"Sec-WebSocket-Extensions",
            b"permessage-deflate; client_max_window_bits",
        ),
    ];
    Ok(Opening::read(b"GET", 1, fields)?.deflate(policy))
}

/// What a client sends: the same message several times.
fn frames(data: &[u8], takeover: Option<bool>, times: u32) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut compress = Compress::new(Compression::new(6), false);
    let mut bytes = Vec::new();
    for _ in 0..times {
        let Some(takeover) = takeover else {
            frame(FIN_TEXT, data, &mut bytes)?;
            continue;
        };
        if !takeover {
            compress.reset();
        }
        let mut payload = Vec::with_capacity(data.len() + 1000);
        compress.compress_vec(data, &mut payload, FlushCompress::Sync)?;
        frame(FIN_TEXT | RSV1, &payload[..payload.len() - 4], &mut bytes)?;
    }
    Ok(bytes)
}

fn frame(first: u8, payload: &[u8], bytes: &mut Vec<u8>) -> Result<(), Box<dyn Error>> {
    bytes.push(first);
    match payload.len() {
        len @ ..126 => bytes.push(0x80 | u8::try_from(len)?),
        len @ ..65_536 => {
            bytes.push(0xfe);
            bytes.extend(u16::try_from(len)?.to_be_bytes());
        }
        len => {
            bytes.push(0xff);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    Ok(())
}

//! A server that sends every message back: what the Autobahn cases are run against, and the use of
//! the crate on a screen. One blocking thread for each connection; nobody should serve like this.
//!
//! ```text
//! cargo run --release -p oxicorn-websocket --example echo -- [--takeover]
//! ```
//! It prints its address, and ends when its standard input does.
#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use oxicorn_http1::{Head, Version};
use oxicorn_websocket::deflate::{Agreement, Policy, Pool};
use oxicorn_websocket::{Connection, Event, Opening, Refusal, State};

/// The largest message of the cases.
const LIMIT: usize = 16 << 20;

fn main() -> io::Result<()> {
    let takeover = std::env::args().any(|argument| argument == "--takeover");
    let policy = Policy {
        server_takeover: takeover,
        client_takeover: takeover,
        threshold: 0,
        ..Policy::default()
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that breaks off has seen why, if there is a reason.
            thread::spawn(move || serve(stream, &policy));
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink()).map(|_| ())
}

fn serve(mut stream: TcpStream, policy: &Policy) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (deflate, mut early) = shake_hands(&mut stream, policy)?;
    let mut echo = Echo {
        connection: Connection::new(LIMIT, deflate),
        pool: Pool::new(1),
        out: Vec::new(),
    };
    echo.receive(&mut early);
    let mut input = vec![0; 64 * 1024];
    loop {
        stream.write_all(&echo.out)?;
        echo.out.clear();
        if echo.connection.state() == State::Over {
            return Ok(());
        }
        match stream.read(&mut input)? {
            0 => return Ok(()),
            len => echo.receive(&mut input[..len]),
        }
    }
}

struct Echo {
    connection: Connection,
    pool: Pool,
    out: Vec<u8>,
}

impl Echo {
    fn receive(&mut self, input: &mut [u8]) {
        let mut at = 0;
        loop {
            let rest = &mut input[at..];
            let step = self.connection.receive(rest, &mut self.pool, &mut self.out);
            at += step.consumed;
            match step.event {
                None => return,
                Some(Event::Message { kind, data }) => {
                    let sent = self
                        .connection
                        .send(kind, &data, &mut self.pool, &mut self.out);
                    debug_assert!(
                        sent.is_ok(),
                        "messages come only while the connection is open"
                    );
                }
                Some(_) => {}
            }
        }
    }
}

/// Reads the request and answers it: what is agreed on, and what came after the request.
fn shake_hands(
    stream: &mut TcpStream,
    policy: &Policy,
) -> io::Result<(Option<Agreement>, Vec<u8>)> {
    let mut head = Head::default();
    let mut bytes = Vec::new();
    let http1 = oxicorn_http1::Policy::default();
    while !head
        .parse(&bytes, &http1, false)
        .map_err(io::Error::other)?
    {
        let mut piece = [0; 4096];
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => bytes.extend_from_slice(&piece[..len]),
        }
    }
    let early = bytes.split_off(head.len as usize);
    match open(&head, &bytes) {
        Ok(opening) => {
            let deflate = opening.deflate(policy);
            let fields = opening.fields(None, deflate.as_ref());
            let fields = fields.map_err(io::Error::other)?;
            let fields = fields.iter().map(|(name, value)| (*name, &**value));
            stream.write_all(answer("101 Switching Protocols", fields).as_bytes())?;
            Ok((deflate, early))
        }
        Err(refusal) => {
            let status = format!("{} Refused", refusal.status());
            let fields = refusal.fields().iter().copied();
            stream.write_all(answer(&status, fields).as_bytes())?;
            Err(io::Error::other(refusal))
        }
    }
}

fn open<'b>(head: &Head, bytes: &'b [u8]) -> Result<Opening<'b>, Refusal> {
    let fields = head.fields.iter();
    let fields = fields.map(|field| (field.name.of(bytes), field.value.of(bytes)));
    let minor = u8::from(head.version == Version::Http11);
    Opening::read(head.method.of(bytes), minor, fields)
}

fn answer<'a>(status: &str, fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let lines = fields.map(|(name, value)| format!("{name}: {value}\r\n"));
    let lines: String = lines.collect();
    format!("HTTP/1.1 {status}\r\nServer: oxicorn-websocket\r\n{lines}\r\n")
}

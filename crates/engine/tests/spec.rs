//! Every case of `spec/http1` through the engine, over a socket. What the engine hands out is compared as the parser's own
//! tests compare it; besides, the client must get an answer for each request, in order, and the right end.

mod support;

#[path = "../../http1/tests/support/case.rs"]
#[expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a broken case has to stop the test"
)]
mod case;
#[path = "../../http1/tests/support/drive.rs"]
#[allow(dead_code, reason = "only what it calls a request is used here")]
mod drive;
#[path = "../../http1/tests/support/text.rs"]
#[expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a broken case has to stop the test"
)]
mod text;

use std::time::Duration;

use case::{Case, cases};
use drive::{Request, Seen};
use oxicorn_engine::{Exchange, TrustPolicy};
use oxicorn_http1::{Reject, Span};
use oxicorn_settings::Networks;
use support::{Client, End, Rig, body, forget_log, logged, response, status};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[test]
fn every_case_holds_when_the_bytes_arrive_at_once() {
    for case in cases() {
        Play::new(&case).send(&case.bytes).check("whole");
    }
}

#[test]
fn every_short_case_holds_when_the_bytes_arrive_one_by_one() {
    for case in cases().iter().filter(|case| case.bytes.len() < 500) {
        let mut play = Play::new(case);
        for byte in case.bytes.chunks(1) {
            play = play.send(byte);
        }
        play.check("byte by byte");
    }
}

#[test]
fn every_accepted_case_holds_twice_on_one_connection() {
    for case in cases().iter().filter(|case| case.repeats()) {
        let once = Play::new(case).send(&case.bytes).seen();
        let twice = Play::new(case).send(&case.bytes.repeat(2)).seen();
        let wanted = [once.clone(), once].concat();
        assert!(twice == wanted, "{} twice: {twice:?}", case.title);
    }
}

/// One case on one connection of an engine of its own.
struct Play<'c> {
    case: &'c Case,
    rig: Rig,
    client: Client,
    seen: Vec<Seen>,
}

impl<'c> Play<'c> {
    fn new(case: &'c Case) -> Self {
        forget_log();
        let rig = Rig::with(|options| {
            options.http = case.policy.clone();
            if !case.trusted {
                options.trust = TrustPolicy {
                    proxies: Networks::NONE,
                    ..TrustPolicy::default()
                };
            }
        });
        let client = rig.client();
        Self {
            case,
            rig,
            client,
            seen: Vec::new(),
        }
    }

    /// Sends these bytes, and lets the engine see them.
    fn send(mut self, bytes: &[u8]) -> Self {
        self.rig.send(&mut self.client, bytes);
        self.rig.round(Duration::from_millis(20));
        self.answer_all();
        self
    }

    fn answer_all(&mut self) {
        while self.rig.has_exchange() {
            let exchange = self.rig.exchange();
            self.seen.push(Seen::Request(Box::new(request(&exchange))));
            self.rig.respond(exchange, b"");
        }
    }

    fn check(mut self, how: &str) {
        let seen = self.finish();
        self.case.check(&seen, how);
    }

    fn seen(mut self) -> Vec<Seen> {
        self.finish()
    }

    /// Takes what is still to come, then lets time pass: half a request is answered with 408 then.
    fn finish(&mut self) -> Vec<Seen> {
        let goes_on = self.answers_until_quiet();
        if goes_on {
            self.rig.advance(40_000);
        }
        let end = self.rig.end_of(&mut self.client);
        assert_eq!(end, End::Closed, "{}", self.case.title);
        let requests = self.seen.len();
        let refusal = self.refusal_behind(requests);
        let incomplete = goes_on && refusal == 408;
        assert!(goes_on || refusal != 408, "{}", self.case.title);
        match reject() {
            Some(reject) => {
                assert_eq!(refusal, reject.status(), "{}", self.case.title);
                self.seen.push(Seen::Rejected(reject));
            }
            None if incomplete => self.seen.push(Seen::Incomplete),
            None => assert_eq!(refusal, 0, "{}", self.case.title),
        }
        std::mem::take(&mut self.seen)
    }

    /// Whether the connection is still open when all was handled.
    fn answers_until_quiet(&mut self) -> bool {
        let mut before = usize::MAX;
        while before != self.seen.len() {
            before = self.seen.len();
            self.settle();
            self.answer_all();
        }
        self.client.pull().is_none()
    }

    /// Like the rig's own, for policies that would not let its request pass.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.rig.round(Duration::from_millis(2));
            while self.rig.wants_more() && !self.rig.has_exchange() {
                self.rig.round(Duration::ZERO);
            }
        }
    }

    /// The status behind one answer for each request; 0 when nothing is there.
    fn refusal_behind(&self, requests: usize) -> u16 {
        let answers = response(b"").repeat(requests);
        let got = without_interim(&self.client.got);
        let title = &self.case.title;
        assert!(got.starts_with(&answers), "{title}: {}", self.client.text());
        let rest = &got[answers.len()..];
        assert_eq!(rest.is_empty(), status(rest) == 0, "{}", self.case.title);
        status(rest)
    }
}

/// What the log says about the refusal.
fn reject() -> Option<Reject> {
    let told = |reject: &&Reject| {
        let line = format!("from ip=127.0.0.1: {reject} ({})", reject.status());
        logged(&line)
    };
    Reject::all().iter().find(told).copied()
}

fn without_interim(bytes: &[u8]) -> Vec<u8> {
    let mut rest = bytes;
    let mut kept = Vec::new();
    while let Some(at) = rest
        .windows(CONTINUE.len())
        .position(|part| part == CONTINUE)
    {
        kept.extend_from_slice(&rest[..at]);
        rest = &rest[at + CONTINUE.len()..];
    }
    [&kept, rest].concat()
}

fn request(exchange: &Exchange) -> Request {
    let (head, bytes) = (&exchange.head, exchange.bytes());
    let of = |span: Span| span.of(bytes).to_vec();
    Request {
        method: of(head.method),
        target: of(head.target),
        version: head.version,
        form: head.form,
        path: head.path_of(bytes).to_vec(),
        query: of(head.query),
        host: head.host.map(of),
        fields: head
            .fields
            .iter()
            .map(|field| (of(field.name), of(field.value)))
            .collect(),
        dropped: head.dropped,
        keep_alive: exchange.keep_alive,
        expect_continue: head.expect_continue,
        upgrade: head.upgrade,
        body: body(exchange),
    }
}

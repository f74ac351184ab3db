//! Compressed messages (RFC 7692 §7.2), and the limits that hold for them.

mod support;

use std::borrow::Cow;

use flate2::{Decompress, FlushDecompress};
use oxicorn_websocket::deflate::Policy;
use oxicorn_websocket::{Event, Kind, Violation};
use support::{Compressor, FIN, RSV1, Random, Server, agreement, frame, frames, read_frames};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const OFFER: &str = "permessage-deflate; client_max_window_bits";

fn server(policy: Policy) -> Server {
    let deflate = agreement(OFFER, &policy);
    assert!(deflate.is_some());
    Server::new(1 << 20, deflate)
}

fn takeover() -> Policy {
    Policy {
        server_takeover: true,
        client_takeover: true,
        threshold: 0,
        ..Policy::default()
    }
}

fn eager() -> Policy {
    Policy {
        threshold: 0,
        ..Policy::default()
    }
}

fn text(data: &[u8]) -> Event<'static> {
    Event::Message {
        kind: Kind::Text,
        data: Cow::Owned(data.to_vec()),
    }
}

/// What a client reads: the payload of a compressed frame, decompressed.
fn inflate(stream: &mut Decompress, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 20);
    let bytes = [payload, &[0, 0, 0xff, 0xff]].concat();
    let status = stream.decompress_vec(&bytes, &mut out, FlushDecompress::Sync);
    assert!(status.is_ok());
    out
}

fn noise(len: usize) -> Vec<u8> {
    let mut random = Random::new(9);
    let bytes: Vec<u8> = (0..=255).collect();
    (0..len).map(|_| *random.pick(&bytes)).collect()
}

fn send(server: &mut Server, data: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (pool, out) = (&mut server.pool, &mut server.out);
    assert_eq!(server.connection.send(Kind::Text, data, pool, out), Ok(()));
    read_frames(&server.written())
}

// RFC 7692 §7.2.3

const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

#[test]
fn a_compressed_message_of_one_block_is_read() {
    let mut server = server(takeover());
    let bytes = frame(FIN | RSV1 | TEXT, &HELLO);
    assert_eq!(server.receive(&bytes), [text(b"Hello")]);
}

#[test]
fn a_compressed_message_may_be_in_fragments() {
    let mut server = server(takeover());
    let bytes = frames([(RSV1 | TEXT, &HELLO[..3]), (FIN, &HELLO[3..])]);
    assert_eq!(server.receive(&bytes), [text(b"Hello")]);
}

#[test]
fn a_message_may_refer_to_the_one_before_it() {
    let mut server = server(takeover());
    let second = [0xf2, 0x00, 0x11, 0x00, 0x00];
    let bytes = frames([(FIN | RSV1 | TEXT, &HELLO), (FIN | RSV1 | TEXT, &second)]);
    assert_eq!(server.receive(&bytes), [text(b"Hello"), text(b"Hello")]);
}

#[test]
fn a_block_without_compression_is_read() {
    let mut server = server(takeover());
    let block = [
        0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
    ];
    assert_eq!(
        server.receive(&frame(FIN | RSV1 | TEXT, &block)),
        [text(b"Hello")]
    );
}

#[test]
fn a_block_that_says_it_is_the_last_ends_neither_message_nor_connection() {
    for policy in [takeover(), eager()] {
        let mut server = server(policy);
        let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        let bytes = frames([(FIN | RSV1 | TEXT, &last), (FIN | RSV1 | TEXT, &HELLO)]);
        assert_eq!(server.receive(&bytes), [text(b"Hello"), text(b"Hello")]);
    }
}

#[test]
fn a_message_may_have_two_blocks() {
    let mut server = server(takeover());
    let blocks = [
        0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
    ];
    assert_eq!(
        server.receive(&frame(FIN | RSV1 | TEXT, &blocks)),
        [text(b"Hello")]
    );
}

#[test]
fn an_empty_message_is_one_byte() {
    let mut server = server(takeover());
    assert_eq!(server.receive(&frame(FIN | RSV1 | TEXT, &[0])), [text(b"")]);
    assert_eq!(server.receive(&frame(FIN | RSV1 | TEXT, &[])), [text(b"")]);
}

#[test]
fn a_message_need_not_be_compressed() {
    let mut server = server(takeover());
    assert_eq!(
        server.receive(&frame(FIN | TEXT, b"Hello")),
        [text(b"Hello")]
    );
}

#[test]
fn a_continuation_is_not_marked_as_compressed() {
    let mut server = server(takeover());
    let bytes = frames([(RSV1 | TEXT, &HELLO[..3]), (FIN | RSV1, &HELLO[3..])]);
    assert_eq!(
        server.receive(&bytes),
        [Event::Failed(Violation::ReservedBit)]
    );
}

// What we send

const LINE: &[u8] = b"{\"user\": 17, \"text\": \"the same again, the same again\"}";

#[test]
fn what_is_sent_is_what_a_client_decompresses() {
    for (policy, keeps) in [(takeover(), true), (eager(), false)] {
        let mut server = server(policy);
        let mut stream = Decompress::new(false);
        let mut lens = Vec::new();
        for _ in 0..3 {
            let sent = send(&mut server, LINE);
            let [(first, payload)] = &sent[..] else {
                panic!("{sent:?}");
            };
            assert_eq!(*first, FIN | RSV1 | TEXT);
            if !keeps {
                stream.reset(false);
            }
            assert_eq!(inflate(&mut stream, payload), LINE);
            lens.push(payload.len());
        }
        assert_eq!(lens[1] < lens[0] / 2, keeps, "{lens:?}");
    }
}

#[test]
fn a_large_message_is_compressed_whole() {
    for window_bits in [9, 15] {
        let mut server = server(Policy {
            server_window_bits: window_bits,
            ..takeover()
        });
        let data: Vec<u8> = (0..300_000_u32)
            .flat_map(u32::to_be_bytes)
            .take(900_000)
            .collect();
        let sent = send(&mut server, &data);
        let mut stream = Decompress::new_with_window_bits(false, window_bits);
        assert_eq!(inflate(&mut stream, &sent[0].1), data);
    }
}

/// By how much a message grows when its first 100 letters come again at its end.
fn cost_of_repeating(server: &mut Server, letters: &[u8]) -> usize {
    let mut stream = Decompress::new(false);
    let again = [letters, &letters[..100]].concat();
    let [once, twice] = [letters, &again].map(|data| {
        let sent = send(server, data);
        stream.reset(false);
        assert!(inflate(&mut stream, &sent[0].1) == *data);
        sent[0].1.len()
    });
    twice - once
}

#[test]
fn what_is_sent_refers_no_farther_back_than_agreed() {
    let mut random = Random::new(11);
    let alphabet = b"abcdefghijklmnopqrstuvwxyz";
    for window_bits in [9, 10, 12, 14] {
        let offer = format!("permessage-deflate; server_max_window_bits={window_bits}");
        let mut server = Server::new(1 << 20, agreement(&offer, &eager()));
        let window = 1 << window_bits;
        let letters: Vec<u8> = (0..window + 300).map(|_| *random.pick(alphabet)).collect();
        let outside = cost_of_repeating(&mut server, &letters);
        assert!(
            outside > 50,
            "100 letters are compressed to {outside} bytes"
        );
        let inside = cost_of_repeating(&mut server, &letters[..window / 2 - 50]);
        assert!(inside < 20, "a reference is {inside} bytes");
    }
}

#[test]
fn noise_grows_by_a_few_bytes_only() {
    let mut server = server(takeover());
    for len in [1, 100, 100_000] {
        let noise = noise(len);
        let sent = send(&mut server, &noise);
        assert!(sent[0].1.len() <= len + len / 1000 + 10, "{len}");
    }
}

#[test]
fn messages_below_the_threshold_are_sent_as_they_are() {
    let mut server = server(Policy {
        threshold: LINE.len() + 1,
        ..takeover()
    });
    assert!(!server.connection.compresses(LINE.len()));
    assert_eq!(send(&mut server, LINE), [(FIN | TEXT, LINE.to_vec())]);
    assert!(server.connection.compresses(LINE.len() + 1));
}

#[test]
fn without_takeover_connections_share_one_pool() {
    let mut first = server(eager());
    let mut second = server(eager());
    let mut compressor = Compressor::new(15);
    let half = compressor.message(LINE);
    first.receive(&frame(RSV1 | TEXT, &half[..5]));
    second.pool = first.pool;
    let whole = frame(FIN | RSV1 | TEXT, &half);
    assert_eq!(second.receive(&whole), [text(LINE)]);
    first.pool = second.pool;
    assert_eq!(first.receive(&frame(FIN, &half[5..])), [text(LINE)]);
}

// Limits and damage

#[test]
fn a_message_that_decompresses_to_more_than_the_limit_is_refused() {
    let limit = 10_000;
    for (len, fits) in [(limit, true), (limit + 1, false), (limit * 200, false)] {
        let payload = Compressor::new(15).message(&vec![b'x'; len]);
        let mut server = Server::new(limit, agreement(OFFER, &eager()));
        let events = server.receive(&frame(FIN | RSV1 | TEXT, &payload));
        if fits {
            assert_eq!(events, [text(&vec![b'x'; len])]);
        } else {
            assert_eq!(events, [Event::Failed(Violation::MessageTooLarge)]);
            assert_eq!(server.written()[2..4], 1009_u16.to_be_bytes());
        }
    }
}

#[test]
fn a_message_without_end_or_content_is_refused_by_what_it_takes_compressed() {
    let mut server = Server::new(1000, agreement(OFFER, &eager()));
    let empty_block = frame(0, &[0, 0, 0, 0xff, 0xff]);
    server.receive(&frame(RSV1 | TEXT, &[0, 0, 0, 0xff, 0xff]));
    let failed = (0..1000).find_map(|_| server.receive(&empty_block).pop());
    assert_eq!(failed, Some(Event::Failed(Violation::MessageTooLarge)));
}

#[test]
fn noise_within_the_limit_may_take_more_than_it_when_compressed() {
    let noise = noise(1000);
    let payload = Compressor::new(9).message(&noise);
    assert!(payload.len() > noise.len());
    let mut server = Server::new(noise.len(), agreement(OFFER, &eager()));
    let events = server.receive(&frame(FIN | RSV1 | BINARY, &payload));
    assert!(matches!(&events[..], [Event::Message { data, .. }] if **data == *noise));
}

#[test]
fn compressed_data_that_is_none_is_refused() {
    let mut server = server(takeover());
    let bytes = frame(FIN | RSV1 | TEXT, &[0xff; 20]);
    assert_eq!(
        server.receive(&bytes),
        [Event::Failed(Violation::Compression)]
    );
    assert_eq!(server.written()[2..4], 1007_u16.to_be_bytes());
}

#[test]
fn compressed_text_that_is_not_utf8_is_refused_before_it_ends() {
    let mut server = server(takeover());
    let payload = Compressor::new(15).message(b"abc\xff");
    let events = server.receive(&frame(RSV1 | TEXT, &payload));
    assert_eq!(events, [Event::Failed(Violation::Utf8)]);
}

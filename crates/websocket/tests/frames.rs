//! What a connection makes of frames (RFC 6455): messages, control frames, violations, closing.

mod support;

use std::borrow::Cow;

use oxicorn_websocket::deflate::Pool;
use oxicorn_websocket::{Close, Closed, Code, Connection, Event, Kind, State, Violation};
use support::{FIN, RSV1, Server, frame, frames, read_frames};

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = FIN | 0x8;
const PING: u8 = FIN | 0x9;
const PONG: u8 = FIN | 0xa;

fn server() -> Server {
    Server::new(1 << 20, None)
}

fn message(kind: Kind, data: &[u8]) -> Event<'static> {
    let data = Cow::Owned(data.to_vec());
    Event::Message { kind, data }
}

fn text(data: &str) -> Event<'static> {
    message(Kind::Text, data.as_bytes())
}

fn ping(data: &[u8]) -> Event<'static> {
    Event::Ping(Cow::Owned(data.to_vec()))
}

fn closed(code: Option<Code>, reason: &str) -> Event<'static> {
    let reason = reason.to_owned();
    Event::Close(Close { code, reason })
}

// RFC 6455 §5.7

#[test]
fn the_masked_text_of_the_rfc_is_a_message() {
    let bytes = [
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    assert_eq!(server().receive(&bytes), [text("Hello")]);
}

#[test]
fn the_unmasked_text_of_the_rfc_is_what_a_server_writes() {
    let mut server = server();
    let (pool, out) = (&mut server.pool, &mut server.out);
    server
        .connection
        .send(Kind::Text, b"Hello", pool, out)
        .unwrap();
    assert_eq!(server.written(), [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
}

#[test]
fn the_ping_of_the_rfc_is_answered_with_its_payload() {
    let mut server = server();
    assert_eq!(server.receive(&frame(PING, b"Hello")), [ping(b"Hello")]);
    assert_eq!(server.written(), [0x8a, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
}

#[test]
fn a_large_message_has_a_long_length() {
    let mut server = server();
    for (len, head) in [
        (256, &[0x82, 0x7e, 0x01, 0x00][..]),
        (65_536, &[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let data = vec![7; len];
        let (pool, out) = (&mut server.pool, &mut server.out);
        server
            .connection
            .send(Kind::Binary, &data, pool, out)
            .unwrap();
        assert_eq!(server.written(), [head, &data].concat());
        let only_head = server.connection.frame_head(Kind::Binary, len).unwrap();
        assert_eq!(only_head.as_bytes(), head);
        let received = server.receive(&frame(FIN | BINARY, &data));
        assert_eq!(received, [message(Kind::Binary, &data)]);
    }
}

// RFC 6455 §5.4

#[test]
fn a_message_may_be_in_fragments_with_control_frames_between_them() {
    let mut server = server();
    let bytes = frames([
        (TEXT, b"Hel"),
        (PING, b"1"),
        (CONTINUATION, b""),
        (PONG, b"2"),
        (CONTINUATION, b"lo"),
        (FIN, b"!"),
    ]);
    let pong = Event::Pong(Cow::Borrowed(&b"2"[..]));
    assert_eq!(server.receive(&bytes), [ping(b"1"), pong, text("Hello!")]);
    assert_eq!(read_frames(&server.written()), [(PONG, b"1".to_vec())]);
}

#[test]
fn empty_messages_are_messages() {
    let bytes = frames([
        (FIN | TEXT, b""),
        (FIN | BINARY, b""),
        (TEXT, b""),
        (CONTINUATION, b""),
        (FIN, b""),
    ]);
    let expected = [text(""), message(Kind::Binary, b""), text("")];
    assert_eq!(server().receive(&bytes), expected);
}

#[test]
fn a_character_may_be_cut_by_a_fragment() {
    let bytes = frames([(TEXT, b"\xf0\x9f"), (FIN, b"\xa6\x84")]);
    assert_eq!(server().receive(&bytes), [text("🦄")]);
}

#[test]
fn a_message_in_one_piece_is_not_copied() {
    let mut server = server();
    let mut bytes = frame(FIN | BINARY, b"Hello");
    let step = server
        .connection
        .receive(&mut bytes, &mut server.pool, &mut server.out);
    let Some(Event::Message { data, .. }) = step.event else {
        panic!("no message");
    };
    assert!(matches!(data, Cow::Borrowed(b"Hello")));
}

#[test]
fn connections_and_pools_may_go_from_thread_to_thread() {
    fn may_go<T: Send + Sync>() {}
    may_go::<Connection>();
    may_go::<Pool>();
}

// Violations

#[test]
fn what_breaks_the_protocol_is_refused_by_name_and_closed_with_its_code() {
    let long = [b'x'; 126];
    let cases: [(&[u8], Violation, u16); 21] = [
        (b"\x81\x05Hello", Violation::Unmasked, 1002),
        (&frame(FIN | 0x20 | TEXT, b""), Violation::ReservedBit, 1002),
        (&frame(FIN | 0x10 | TEXT, b""), Violation::ReservedBit, 1002),
        (&frame(FIN | RSV1 | TEXT, b""), Violation::ReservedBit, 1002),
        (&frame(RSV1 | PING, b""), Violation::ReservedBit, 1002),
        (&frame(FIN | 3, b""), Violation::Opcode, 1002),
        (&frame(FIN | 15, b""), Violation::Opcode, 1002),
        (&frame(9, b""), Violation::ControlFragmented, 1002),
        (&frame(PING, &long), Violation::ControlTooLong, 1002),
        (&frame(CLOSE, &long), Violation::ControlTooLong, 1002),
        (b"\x82\xfe\x00\x01", Violation::LengthNotMinimal, 1002),
        (
            b"\x82\xff\xff\0\0\0\0\0\0\0",
            Violation::LengthTooLarge,
            1002,
        ),
        (&frame(FIN, b""), Violation::NothingToContinue, 1002),
        (
            &frame(CONTINUATION, b"x"),
            Violation::NothingToContinue,
            1002,
        ),
        (
            &frames([(TEXT, b"a"), (FIN | TEXT, b"b")]),
            Violation::Interleaved,
            1002,
        ),
        (&frame(FIN | TEXT, b"\xff"), Violation::Utf8, 1007),
        (&frame(FIN | TEXT, b"\xf0\x9f"), Violation::Utf8, 1007),
        (&frame(CLOSE, b"\x03"), Violation::CloseLength, 1002),
        (&frame(CLOSE, b"\x03\xee"), Violation::CloseCode, 1002),
        (&frame(CLOSE, b"\x03\xe8\xc3"), Violation::CloseReason, 1007),
        (
            b"\x82\xff\0\0\0\0\0\x10\0\x01mask",
            Violation::MessageTooLarge,
            1009,
        ),
    ];
    for (bytes, violation, code) in cases {
        let mut server = server();
        let events = server.receive(&[bytes, &frame(FIN | TEXT, b"never read")].concat());
        assert_eq!(events, [Event::Failed(violation)], "{bytes:02x?}");
        assert_eq!(server.connection.state(), State::Over);
        let payload = [&code.to_be_bytes(), violation.text().as_bytes()].concat();
        assert_eq!(read_frames(&server.written()), [(CLOSE, payload)]);
    }
}

#[test]
fn text_that_is_not_utf8_is_refused_before_its_frame_ends() {
    let bytes = frame(TEXT, b"abc\xed\xa0\x80 and so on");
    for cut in 0..bytes.len() {
        let mut server = server();
        let events = server.receive(&bytes[..cut]);
        let shown = cut >= 6 + 3 + 2;
        assert_eq!(!events.is_empty(), shown, "after {cut} bytes");
    }
}

#[test]
fn a_message_is_refused_when_its_announced_length_passes_the_limit() {
    let mut server = Server::new(10, None);
    let events = server.receive(&frames([(BINARY, b"123456"), (FIN, b"7890")]));
    assert_eq!(events, [message(Kind::Binary, b"1234567890")]);
    let only_head = [&frame(BINARY, b"123456")[..], &[FIN, 0x85, 1, 2, 3, 4]].concat();
    let too_large = Event::Failed(Violation::MessageTooLarge);
    assert_eq!(server.receive(&only_head), [too_large]);
}

// Pings

#[test]
fn pings_of_a_peer_that_reads_nothing_take_no_memory() {
    let mut server = server();
    let payload = [b'x'; 125];
    for _ in 0..10_000 {
        server.receive(&frame(PING, &payload));
    }
    assert!(server.out.len() < 17 * 1024, "{}", server.out.len());
    server.receive(&frame(PING, b"last"));
    server.written();
    server.connection.catch_up(&mut server.out);
    assert_eq!(read_frames(&server.written()), [(PONG, b"last".to_vec())]);
    server.connection.catch_up(&mut server.out);
    assert!(server.written().is_empty(), "it is answered once");
}

#[test]
fn our_ping_comes_back_as_a_pong() {
    let mut server = server();
    server
        .connection
        .ping([1, 2, 3, 4], &mut server.out)
        .unwrap();
    assert_eq!(server.written(), [PING, 4, 1, 2, 3, 4]);
    let pong = Event::Pong(Cow::Borrowed(&[1, 2, 3, 4][..]));
    assert_eq!(server.receive(&frame(PONG, &[1, 2, 3, 4])), [pong]);
    assert!(server.written().is_empty());
}

// Closing: RFC 6455 §5.5.1 and §7

#[test]
fn the_peers_close_is_answered_with_its_code_and_nothing_is_read_after_it() {
    for (payload, code, reason) in [
        (&b""[..], None, ""),
        (b"\x03\xe8", Some(Code::NORMAL), ""),
        (b"\x0f\xa0bye", Code::new(4000), "bye"),
    ] {
        let mut server = server();
        let bytes = [frame(CLOSE, payload), frame(PING, b"late")].concat();
        assert_eq!(server.receive(&bytes), [closed(code, reason)]);
        let answer = payload.get(..2).unwrap_or_default().to_vec();
        assert_eq!(read_frames(&server.written()), [(CLOSE, answer)]);
        assert_eq!(server.connection.state(), State::Over);
    }
}

#[test]
fn a_close_that_we_begin_ends_with_the_peers() {
    let mut server = server();
    let (code, out) = (Some(Code::RESTART), &mut server.out);
    server.connection.close(code, "restart", out).unwrap();
    assert_eq!(server.connection.state(), State::Closing);
    assert_eq!(server.written(), b"\x88\x09\x03\xf4restart");
    assert_eq!(
        server.receive(&frame(CLOSE, b"\x03\xf4")),
        [closed(code, "")]
    );
    assert_eq!(server.connection.state(), State::Over);
    assert!(server.written().is_empty());
}

#[test]
fn what_comes_between_our_close_and_the_peers_is_discarded() {
    let mut server = Server::new(10, None);
    server.receive(&frame(TEXT, b"half"));
    server.connection.close(None, "", &mut server.out).unwrap();
    server.written();
    let bytes = frames([
        (CONTINUATION, b"\xff and more than the limit"),
        (PING, b"1"),
        (FIN, b"x"),
        (FIN | TEXT, b"y"),
        (CLOSE, b""),
    ]);
    let events = server.receive_all(bytes.chunks(1));
    assert_eq!(events, [ping(b"1"), closed(None, "")]);
    assert!(server.written().is_empty());
}

#[test]
fn a_violation_after_our_close_is_not_answered() {
    let mut server = server();
    server.connection.close(None, "", &mut server.out).unwrap();
    server.written();
    assert_eq!(
        server.receive(b"\x81\x00"),
        [Event::Failed(Violation::Unmasked)]
    );
    assert_eq!(server.connection.state(), State::Over);
    assert!(server.written().is_empty());
}

#[test]
fn commands_after_a_close_are_refused_and_write_nothing() {
    for by_peer in [false, true] {
        let mut server = server();
        if by_peer {
            server.receive(&frame(CLOSE, b""));
        } else {
            server.connection.close(None, "", &mut server.out).unwrap();
        }
        server.written();
        let (connection, out) = (&mut server.connection, &mut server.out);
        assert_eq!(
            connection.send(Kind::Text, b"", &mut server.pool, out),
            Err(Closed)
        );
        assert_eq!(connection.ping([0; 4], out), Err(Closed));
        assert_eq!(connection.close(None, "", out), Err(Closed));
        assert_eq!(connection.frame_head(Kind::Text, 0).err(), Some(Closed));
        assert!(server.written().is_empty());
    }
}

#[test]
fn a_connection_knows_whether_its_peer_is_amid_something() {
    let mut server = server();
    let bytes = frames([(TEXT, b"a"), (PING, b""), (FIN, b"b")]);
    assert!(!server.connection.is_amid());
    for byte in &bytes[..bytes.len() - 1] {
        server.receive(&[*byte]);
        assert!(server.connection.is_amid());
    }
    server.receive(&bytes[bytes.len() - 1..]);
    assert!(!server.connection.is_amid());
}

//! Small blocks that wait for the next one: together, in their order, and never longer than somebody sees to.

mod support;

use std::sync::Arc;

use oxicorn_engine::{Ending, Exchange, Flow, Shared};
use support::secure::secure_rig;
use support::{Client, End, GET, Rig, noise};

/// Gives bytes that may wait. Whether they are the first that do.
fn push_soon(rig: &mut Rig, exchange: &Exchange, bytes: &[u8]) -> bool {
    let now = rig.now();
    let (flow, first) = rig.engine.send_soon(exchange, &[bytes], now);
    assert_eq!(flow, Flow::Clear);
    first
}

/// What reached the client so far.
fn got(client: &mut Client) -> &[u8] {
    client.pull();
    &client.got
}

#[test]
fn blocks_wait_for_what_is_sent_and_leave_before_it() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    assert!(push_soon(&mut rig, &exchange, b"one "));
    assert!(!push_soon(&mut rig, &exchange, b"two "));
    assert!(got(&mut client).is_empty());
    assert_eq!(rig.push(&exchange, b"three"), Flow::Clear);
    assert_eq!(got(&mut client), b"one two three");
    rig.finish(exchange, Ending::Complete);
}

#[test]
fn blocks_that_wait_are_sent_when_somebody_sees_to_it() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    let (mut other_client, other) = rig.request(GET);
    let now = rig.now();
    assert!(!rig.engine.send_waiting(now), "nothing waits");
    assert!(push_soon(&mut rig, &exchange, b"one"));
    assert!(
        !push_soon(&mut rig, &other, b"two"),
        "somebody is told already"
    );
    assert!(rig.engine.send_waiting(now));
    assert_eq!(
        (got(&mut client), got(&mut other_client)),
        (&b"one"[..], &b"two"[..])
    );
    assert!(!rig.engine.send_waiting(now));
    assert!(
        push_soon(&mut rig, &exchange, b"three"),
        "it has to be seen to again"
    );
}

#[test]
fn a_look_at_what_was_sent_meanwhile_tells_that_something_came() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    push_soon(&mut rig, &exchange, b"one ");
    rig.push(&exchange, b"two");
    let now = rig.now();
    assert!(rig.engine.send_waiting(now));
    assert!(!rig.engine.send_waiting(now));
    assert_eq!(got(&mut client), b"one two");
}

#[test]
fn enough_bytes_do_not_wait() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    let block = noise(4 << 10);
    for _ in 0..3 {
        push_soon(&mut rig, &exchange, &block);
        assert!(got(&mut client).is_empty());
    }
    push_soon(&mut rig, &exchange, &block);
    assert!(got(&mut client) == block.repeat(4));
}

#[test]
fn what_waits_leaves_with_the_end_of_the_exchange() {
    for ending in [Ending::Complete, Ending::Cut] {
        let mut rig = Rig::new();
        let (mut client, mut exchange) = rig.request(GET);
        exchange.keep_alive = false;
        push_soon(&mut rig, &exchange, b"all there is");
        rig.finish(exchange, ending);
        assert_eq!(rig.end_of(&mut client), End::Closed);
        assert_eq!(client.got, b"all there is");
    }
}

#[test]
fn the_connection_goes_on_behind_what_waited() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    push_soon(&mut rig, &exchange, b"one");
    rig.finish(exchange, Ending::Complete);
    rig.send(&mut client, GET);
    let next = rig.exchange();
    // The look that was due for the first one finds the second one's bytes, and none twice.
    push_soon(&mut rig, &next, b"two");
    let now = rig.now();
    assert!(rig.engine.send_waiting(now));
    assert_eq!(got(&mut client), b"onetwo");
    rig.finish(next, Ending::Complete);
}

#[test]
fn files_and_large_blocks_come_behind_what_waits() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    push_soon(&mut rig, &exchange, b"one ");
    assert_eq!(rig.push_file(&exchange, b"file "), Flow::Clear);
    push_soon(&mut rig, &exchange, b"two ");
    let large = noise(100_000);
    assert_eq!(rig.push(&exchange, &large), Flow::Clear);
    push_soon(&mut rig, &exchange, b" three ");
    let mut owner: Option<Shared> = Some(Box::new(Arc::<[u8]>::from(large.clone())));
    assert!(
        rig.engine.may_keep(&exchange),
        "the socket is not what it waits for"
    );
    let now = rig.now();
    let parts = [&b"<"[..], &large, b">"];
    let flow = rig.engine.send_kept(&exchange, parts, &mut owner, now);
    assert_eq!(flow, Flow::Clear);
    rig.finish(exchange, Ending::Complete);
    let wanted = [&b"one file two "[..], &large, b" three <", &large, b">"].concat();
    rig.receive(&mut client, wanted.len());
    assert!(client.got == wanted);
}

#[test]
fn a_socket_that_takes_no_more_is_what_blocks_wait_for_then() {
    let mut rig = Rig::with(|options| options.response_memory = 1 << 20);
    let (mut client, exchange) = rig.request(GET);
    let large = noise(8 << 20);
    rig.push(&exchange, &large);
    let block = noise(100);
    for _ in 0..100 {
        let now = rig.now();
        let (_, first) = rig.engine.send_soon(&exchange, &[&block], now);
        assert!(!first, "the socket's event is what they leave with");
    }
    rig.finish(exchange, Ending::Complete);
    let wanted = [large, block.repeat(100)].concat();
    rig.receive(&mut client, wanted.len());
    assert!(client.got == wanted);
}

#[test]
fn a_client_that_leaves_takes_what_waits_with_it() {
    let mut rig = Rig::new();
    let (client, exchange) = rig.request(GET);
    push_soon(&mut rig, &exchange, b"one");
    client.reset();
    rig.until("the end of the connection", |rig| {
        let now = rig.now();
        rig.engine.send_soon(&exchange, &[b"two"], now);
        rig.engine.send_waiting(now);
        rig.engine.flow(&exchange) == Flow::Gone
    });
    let now = rig.now();
    let sent = rig.engine.send_soon(&exchange, &[b"three"], now);
    assert_eq!(sent, (Flow::Gone, false));
    rig.finish(exchange, Ending::Complete);
    // Its place is somebody else's now.
    let (mut client, exchange) = rig.request(GET);
    assert!(push_soon(&mut rig, &exchange, b"hello"));
    assert!(rig.engine.send_waiting(now));
    assert_eq!(got(&mut client), b"hello");
}

#[test]
fn blocks_wait_unencrypted_and_leave_together() {
    let mut rig = secure_rig(|_| {});
    let mut client = rig.secure_client();
    client.say(GET);
    rig.with_secure(&mut client, "the request", |rig, _| rig.has_exchange());
    let exchange = rig.exchange();
    let before = client.raw.got.len();
    let blocks = noise(12_000);
    for block in blocks.chunks(1000) {
        push_soon(&mut rig, &exchange, block);
    }
    client.raw.pull();
    assert_eq!(client.raw.got.len(), before, "nothing has left");
    let now = rig.now();
    assert!(rig.engine.send_waiting(now));
    rig.receive_secure(&mut client, blocks.len());
    assert!(client.got == blocks);
    let overhead = client.raw.got.len() - before - blocks.len();
    assert!(overhead < 64, "{overhead} bytes: more than one record");
    rig.finish(exchange, Ending::Complete);
}

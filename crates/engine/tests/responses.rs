//! From the application's bytes to the client's: order, queueing, files, and how a connection ends.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use oxicorn_engine::{Ending, Flow, Notice};
use support::{CHUNKED, Client, End, GET, Rig, body, get, noise, post, response, target};

#[test]
fn a_response_arrives_and_the_connection_goes_on() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    assert!(exchange.keep_alive);
    rig.respond(exchange, b"hello");
    rig.receive(&mut client, response(b"hello").len());
    rig.send(&mut client, GET);
    let second = rig.exchange();
    rig.respond(second, b"again");
    rig.receive(&mut client, 2 * response(b"hello").len());
    assert_eq!(
        client.got,
        [response(b"hello"), response(b"again")].concat()
    );
    assert_eq!((rig.stats().accepted, rig.stats().requests), (1, 2));
}

#[test]
fn pipelined_requests_are_answered_in_order_one_at_a_time() {
    let mut rig = Rig::new();
    let paths: Vec<String> = (0..100).map(|n| format!("/{n}")).collect();
    let requests: Vec<u8> = paths.iter().flat_map(|path| get(path)).collect();
    let mut client = rig.client_sending(&requests);
    for path in &paths {
        let exchange = rig.exchange();
        assert_eq!(target(&exchange), *path);
        assert!(!rig.has_exchange(), "the next one waits for this answer");
        rig.respond(exchange, path.as_bytes());
    }
    let wanted: Vec<u8> = paths
        .iter()
        .flat_map(|path| response(path.as_bytes()))
        .collect();
    rig.receive(&mut client, wanted.len());
    assert_eq!(client.got, wanted);
}

#[test]
fn pipelined_bodies_of_every_kind_are_kept_apart() {
    let mut rig = Rig::new();
    let big = noise(200_000);
    let chunked = [CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"].concat();
    let all = [
        post(b"one"),
        post(&big),
        chunked,
        GET.to_vec(),
        post(b"last"),
    ]
    .concat();
    let mut client = rig.client();
    let mut rest = all.as_slice();
    for wanted in [b"one".as_slice(), &big, b"hello", b"", b"last"] {
        rig.until("the request", |rig| {
            rest = &rest[client.push(rest)..];
            rig.has_exchange()
        });
        let exchange = rig.exchange();
        assert!(body(&exchange) == wanted, "{} bytes", wanted.len());
        rig.respond(exchange, b"");
    }
}

#[test]
fn parts_of_one_send_arrive_in_order() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    let parts: [&[u8]; 5] = [
        b"HTTP/1.1 200 OK\r\n",
        b"Content-Length: 2\r\n\r\n",
        b"",
        b"o",
        b"k",
    ];
    assert_eq!(rig.engine.send(&exchange, &parts, rig.now()), Flow::Clear);
    rig.finish(exchange, Ending::Complete);
    rig.receive(&mut client, parts.concat().len());
    assert_eq!(client.got, parts.concat());
}

#[test]
fn any_number_of_parts_may_be_sent_at_once() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    let data = noise(5_000);
    let parts: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(rig.engine.send(&exchange, &parts, rig.now()), Flow::Clear);
    rig.receive(&mut client, data.len());
    assert!(client.got == data);
}

/// Sends `data` in blocks of this size while the client reads nothing.
fn queue(rig: &mut Rig, data: &[u8], block: usize) -> (Client, Vec<Flow>) {
    let (client, exchange) = rig.request(GET);
    let flows = data
        .chunks(block)
        .map(|part| rig.push(&exchange, part))
        .collect();
    rig.finish(exchange, Ending::Cut);
    (client, flows)
}

#[test]
fn what_the_socket_does_not_take_is_kept_in_memory_and_file_and_arrives_whole() {
    let mut rig = Rig::new();
    for block in [4_000, 100_000, 3 << 20] {
        let data = noise(24 << 20);
        let (mut client, flows) = queue(&mut rig, &data, block);
        assert!(
            flows.iter().all(|flow| *flow == Flow::Clear),
            "within its limits"
        );
        assert_eq!(rig.end_of(&mut client), End::Closed);
        assert!(client.got == data, "in blocks of {block}");
    }
    rig.until("nobody left", |rig| rig.stats().connections == 0);
}

#[test]
fn a_full_queue_holds_the_application_back_until_the_client_has_read() {
    let mut rig = Rig::with(|options| options.response_spool = 4 << 20);
    let (mut client, exchange) = rig.request(GET);
    let data = noise(64 << 20);
    let mut held_back = 0;
    for block in data.chunks(256 << 10) {
        if rig.push(&exchange, block) == Flow::Full {
            held_back += 1;
            rig.until("room", |rig| {
                client.pull_once(1 << 20);
                rig.engine.flush_exchange(&exchange, rig.now()) == Flow::Clear
            });
        }
    }
    rig.finish(exchange, Ending::Cut);
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert!(client.got == data);
    assert!(held_back > 3, "only {held_back} times");
}

#[test]
fn a_full_queue_empties_by_itself_when_the_client_reads() {
    let mut rig = Rig::with(|options| options.response_spool = 1 << 20);
    let (mut client, exchange) = rig.request(GET);
    rig.fill(&exchange);
    assert_eq!(rig.engine.flow(&exchange), Flow::Full);
    rig.until("room", |rig| {
        client.pull();
        rig.engine.flow(&exchange) == Flow::Clear
    });
}

#[test]
fn a_response_that_cannot_be_spooled_is_held_in_memory_and_arrives_whole() {
    let mut rig = Rig::with(|options| options.spool_dir = "/nonexistent".into());
    let (mut client, exchange) = rig.request(GET);
    let data = noise(32 << 20);
    let mut blocks = data.chunks(100_000);
    let mut sent = 0;
    let full = blocks.find(|block| {
        sent += block.len();
        rig.push(&exchange, block) == Flow::Full
    });
    assert!(full.is_some(), "memory has its limit");
    assert!(support::logged(
        "A response could not be spooled to tmp_upload_dir"
    ));
    rig.finish(exchange, Ending::Cut);
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert!(client.got == data[..sent]);
}

#[test]
fn a_queue_that_never_runs_dry_does_not_warn_for_every_block() {
    let mut rig = Rig::with(|options| options.spool_dir = "/nonexistent".into());
    let (_client, exchange) = rig.request(GET);
    while rig.push(&exchange, &[b'x'; 4096]) == Flow::Clear {}
    let warnings = support::count_logged("could not be spooled");
    assert!(warnings <= 2, "{warnings} lines for one response");
}

/// The length of all files without a name in `dir` that this process holds.
fn spooled_in(dir: &std::path::Path) -> u64 {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let paths = open.map(|entry| entry.unwrap().path());
    let ours = paths.filter(|path| std::fs::read_link(path).is_ok_and(|at| at.starts_with(dir)));
    ours.map(|path| std::fs::metadata(path).map_or(0, |file| file.len()))
        .sum()
}

#[test]
fn the_spool_does_not_grow_with_the_length_of_the_response() {
    let dir = support::folder("spool");
    let mut rig = Rig::with(|options| {
        options.spool_dir = dir.clone();
        options.response_spool = 8 << 20;
    });
    let (mut client, exchange) = rig.request(GET);
    let mut largest = 0;
    while client.got.len() < 128 << 20 {
        rig.fill(&exchange);
        largest = largest.max(spooled_in(&dir));
        rig.until("room", |rig| {
            client.pull_once(1 << 20);
            rig.engine.flow(&exchange) == Flow::Clear
        });
    }
    assert!(
        (8 << 20..=48 << 20).contains(&largest),
        "{largest} bytes on disk"
    );
    std::fs::remove_dir(dir).unwrap();
}

#[test]
fn files_arrive_between_bytes_in_order() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    let data = noise(12 << 20);
    let (first, rest) = data.split_at(3 << 20);
    let (second, third) = rest.split_at(6 << 20);
    rig.push(&exchange, first);
    rig.push_file(&exchange, second);
    rig.push(&exchange, third);
    rig.finish(exchange, Ending::Cut);
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert!(client.got == data);
}

#[test]
fn an_empty_part_of_a_file_changes_nothing() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    assert_eq!(rig.push_file(&exchange, b""), Flow::Clear);
    rig.respond(exchange, b"ok");
    rig.receive(&mut client, response(b"ok").len());
    assert_eq!(client.got, response(b"ok"));
}

#[test]
fn a_file_that_is_shorter_than_promised_ends_the_connection() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    rig.push(&exchange, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
    let file = support::file_with(b"short");
    let part = oxicorn_engine::FilePart {
        file,
        offset: 0,
        len: 100,
    };
    assert_eq!(rig.engine.send_file(&exchange, part, rig.now()), Flow::Gone);
    rig.finish(exchange, Ending::Complete);
    rig.end_of(&mut client);
    assert!(
        client.text().ends_with("\r\n\r\nshort"),
        "{}",
        client.text()
    );
}

#[test]
fn a_client_that_leaves_in_the_middle_is_told_as_gone_and_leaves_nothing_behind() {
    let mut rig = Rig::new();
    let (client, exchange) = rig.request(GET);
    rig.push(&exchange, &noise(8 << 20));
    client.reset();
    rig.until("gone", |rig| rig.engine.flow(&exchange) == Flow::Gone);
    assert_eq!(rig.push(&exchange, b"more"), Flow::Gone);
    assert_eq!(rig.push_file(&exchange, b"more"), Flow::Gone);
    assert_eq!(rig.engine.flush_exchange(&exchange, rig.now()), Flow::Gone);
    assert!(rig.engine.socket(&exchange).is_none());
    rig.finish(exchange, Ending::Complete);
    assert_eq!(
        (rig.stats().connections, rig.stats().in_application),
        (0, 0)
    );
}

#[test]
fn a_client_that_leaves_before_the_answer_is_noticed_when_it_is_sent() {
    let mut rig = Rig::new();
    let (client, exchange) = rig.request(GET);
    client.reset();
    rig.until("gone", |rig| rig.push(&exchange, b"more") == Flow::Gone);
    rig.finish(exchange, Ending::Complete);
    assert_eq!(rig.stats().connections, 0);
}

#[test]
fn a_response_that_was_cut_ends_the_connection_after_what_was_sent() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(&GET.repeat(2));
    rig.push(
        &exchange,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
    );
    rig.finish(exchange, Ending::Cut);
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert!(client.text().ends_with("\r\n\r\npart"), "{}", client.text());
    assert!(!rig.has_exchange(), "nothing after it is served");
}

#[test]
fn a_driver_may_end_the_connection_by_clearing_keep_alive() {
    let mut rig = Rig::new();
    let (mut client, mut exchange) = rig.request(&GET.repeat(2));
    exchange.keep_alive = false;
    rig.respond(exchange, b"last");
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert_eq!(client.got, response(b"last"));
}

#[test]
fn no_reset_overtakes_a_response_although_the_client_still_sends() {
    let mut rig = Rig::new();
    let mut client =
        rig.client_sending(&[b"GET / HTTP/9.9\r\n\r\n".as_slice(), &noise(100_000)].concat());
    rig.until("the refusal", |rig| rig.stats().refused == 1);
    rig.send(&mut client, &noise(100_000));
    assert!(!client.is_refused());
    assert_eq!(rig.last_status(&mut client), 505);
    assert!(client.text().contains("unsupported HTTP version"));
}

#[test]
fn a_client_that_reads_late_gets_the_whole_last_response() {
    let mut rig = Rig::new();
    let data = noise(2 << 20);
    let (mut client, mut exchange) = rig.request(GET);
    exchange.keep_alive = false;
    rig.respond(exchange, &data);
    rig.send(&mut client, &noise(200_000));
    rig.settle();
    rig.advance(1_900);
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert!(client.got == response(&data));
}

#[test]
fn a_client_whose_upload_is_refused_gets_its_answer() {
    let mut rig = Rig::with(|options| options.body_limit = 1_000);
    let mut client = rig.client_sending(&post(&noise(4 << 20)));
    assert_eq!(rig.last_status(&mut client), 413);
}

#[test]
fn a_client_that_waits_for_100_gets_it_once_and_then_its_answer() {
    let mut rig = Rig::new();
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let mut client = rig.client_sending(head);
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
    rig.receive(&mut client, interim.len());
    assert!(!rig.has_exchange());
    rig.send(&mut client, b"he");
    rig.settle();
    rig.send(&mut client, b"llo");
    let exchange = rig.exchange();
    assert_eq!(body(&exchange), b"hello");
    rig.respond(exchange, b"ok");
    rig.receive(&mut client, interim.len() + response(b"ok").len());
    assert_eq!(client.got, [interim.as_slice(), &response(b"ok")].concat());
}

#[test]
fn a_client_that_does_not_wait_gets_no_100() {
    let mut rig = Rig::new();
    let all = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi";
    let (mut client, exchange) = rig.request(all);
    rig.respond(exchange, b"ok");
    rig.receive(&mut client, response(b"ok").len());
    assert_eq!(client.got, response(b"ok"));
}

#[test]
fn a_client_that_has_begun_its_body_gets_no_100() {
    let mut rig = Rig::new();
    let all = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nh";
    let mut client = rig.client_sending(all);
    rig.settle();
    assert!(client.is_silent());
    rig.send(&mut client, b"i");
    assert_eq!(body(&rig.exchange()), b"hi");
}

#[test]
fn a_client_that_waits_for_100_with_too_large_a_body_is_refused_at_once() {
    let mut rig = Rig::with(|options| options.body_limit = 4);
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let mut client = rig.client_sending(head);
    assert_eq!(rig.last_status(&mut client), 413);
}

#[test]
fn a_half_closed_client_gets_its_answers() {
    let mut rig = Rig::new();
    let mut client = rig.client_sending(&[get("/a"), post(b"b")].concat());
    client.shut();
    rig.serve("both answers", |_| client.pull().is_some());
    assert_eq!(client.end, Some(End::Closed));
    assert_eq!(client.got, [response(b"/a"), response(b"/")].concat());
}

#[test]
fn a_half_closed_client_gets_a_long_answer_whole() {
    let mut rig = Rig::new();
    let (mut client, exchange) = rig.request(GET);
    client.shut();
    let data = noise(8 << 20);
    rig.settle();
    rig.respond(exchange, &data);
    assert_eq!(rig.end_of(&mut client), End::Closed);
    assert!(client.got == response(&data));
}

#[test]
fn a_client_that_half_closes_inside_a_body_never_reaches_the_application() {
    let mut rig = Rig::new();
    let mut client = rig.client_sending(&post(b"hello")[..55]);
    client.shut();
    rig.end_of(&mut client);
    assert_eq!((client.text().as_str(), rig.stats().requests), ("", 0));
    assert!(support::logged("left inside a request body"));
}

#[test]
fn who_waits_for_room_without_a_thread_is_told_when_there_is_some() {
    let mut rig = Rig::with(|options| options.response_spool = 100_000);
    let (mut client, exchange) = rig.request(GET);
    let given = rig.fill(&exchange);
    rig.engine.await_room(&exchange, rig.now());
    rig.settle();
    let progress = Notice::Progress(exchange.token());
    assert!(!rig.notices.contains(&progress));
    rig.until("progress", |rig| {
        client.pull();
        rig.notices.contains(&progress)
    });
    assert_eq!(rig.engine.flow(&exchange), Flow::Clear);
    rig.finish(exchange, Ending::Cut);
    rig.receive(&mut client, given);
    assert_eq!(client.got.len(), given);
}

#[test]
fn who_waits_for_room_without_a_thread_is_told_when_the_client_never_reads() {
    let mut rig = Rig::with(|options| options.response_spool = 100_000);
    let (_client, exchange) = rig.request(GET);
    rig.fill(&exchange);
    rig.engine.await_room(&exchange, rig.now());
    rig.advance(29_900);
    assert!(rig.notices.is_empty());
    rig.advance(200);
    assert_eq!(rig.notices, [Notice::Progress(exchange.token())]);
    assert_eq!(rig.engine.flow(&exchange), Flow::Gone);
    rig.finish(exchange, Ending::Complete);
    assert_eq!(rig.stats().connections, 0);
}

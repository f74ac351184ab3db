//! No descriptor is left for a new connection. A program of its own: the limit is the whole process's.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::fs::File;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use support::{GET, Rig, get, logged, response};

/// Opens files until no more can be opened.
fn exhaust() -> Vec<File> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(64);
    setrlimit(Resource::Nofile, limit).unwrap();
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
fn without_descriptors_idle_connections_make_room_and_else_new_ones_wait_until_there_are_some() {
    let mut rig = Rig::in_real_time(|options| {
        options.keep_alive = 3_600_000;
        options.head_timeout = 0;
        options.app_timeout = 0;
    });
    let _idle = rig.idle_client();
    let mut files = exhaust();

    // One for the client, one for the server's side, and nobody waits behind it: to look for the next is no reason to
    // close anybody.
    files.pop();
    files.pop();
    let silent = rig.client();
    rig.until("the silent one", |rig| rig.stats().accepted == 2);
    rig.round(Duration::ZERO);
    assert_eq!(rig.stats().evicted, 0);
    drop(silent);
    rig.until("its end", |rig| rig.stats().connections == 1);

    files.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
    files.pop();
    let (_first, exchange) = rig.request(GET);
    assert_eq!(rig.stats().evicted, 1);

    files.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
    files.pop();
    let mut waiting = rig.client_sending(&get("/waiting"));
    rig.until("the error", |_| {
        logged("raise the limit of open files, ulimit -n")
    });
    assert!(waiting.is_silent());

    drop(files);
    rig.serve("the answer", |_| {
        waiting.pull();
        !waiting.got.is_empty()
    });
    assert_eq!(waiting.got, response(b"/waiting"));
    drop(exchange);
}

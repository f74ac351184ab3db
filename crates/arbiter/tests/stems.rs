//! Stems with real processes: who is whose child, who survives whom, and what nobody keeps open.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[expect(dead_code, reason = "other tests use more of it")]
mod server;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use server::{Server, send, zombies_of};

const PRELOAD: &str = "preload=true";

fn preloaded(workers: u32, arguments: &[&str]) -> Server {
    let mut all = vec![PRELOAD];
    all.extend(arguments);
    Server::ready(workers, &all)
}

fn alone(arguments: &[&str]) -> Server {
    let mut all = vec!["bind=127.0.0.1:0", "workers=1", PRELOAD];
    all.extend(arguments);
    Server::start(&all)
}

/// The process of the `nth` stem of a generation.
fn stem_of(server: &mut Server, generation: u32, nth: usize) -> i32 {
    let line = server.expect_nth(nth, &format!("stem {generation} is "));
    let pid = line.rsplit(' ').next().and_then(|pid| pid.parse().ok());
    pid.expect("stem GENERATION is PID")
}

fn field_of(pid: i32, index: usize) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is alive");
    let fields = stat.rsplit(')').next().unwrap_or_default();
    fields
        .split_whitespace()
        .nth(index)
        .unwrap_or_default()
        .to_owned()
}

/// What the descriptors of a process are, without their numbers: `socket`, `pipe`, `/dev/null`.
fn descriptors(pid: i32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it is alive");
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let kind = |path: PathBuf| path.to_string_lossy().split(':').next().map(str::to_owned);
    let mut found: Vec<String> = targets.filter_map(kind).collect();
    found.sort();
    found
}

fn wakes(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it is alive");
    let line = status
        .lines()
        .find(|line| line.starts_with("voluntary_ctxt_switches"));
    line.expect("Linux").to_owned()
}

#[test]
fn workers_that_a_stem_forks_are_the_arbiters_children() {
    let mut server = preloaded(2, &[]);
    let stem = stem_of(&mut server, 1, 1);
    for process in [stem, server.worker(1), server.worker(2)] {
        assert_eq!(field_of(process, 1), server.pid().to_string());
    }
    assert_eq!(zombies_of(server.pid()) + zombies_of(stem), 0);
    assert!(server.connect().starts_with("worker "));
}

#[test]
fn neither_keeps_what_belongs_to_the_other() {
    let mut plain = Server::ready(2, &[]);
    let mut server = preloaded(2, &[]);
    let (other, worker) = (plain.worker(2), server.worker(2));
    assert_eq!(descriptors(worker), descriptors(other));
    let stem = stem_of(&mut server, 1, 1);
    let sockets = |pid| descriptors(pid).iter().filter(|it| *it == "socket").count();
    // The listener, the meeting place, and its end of the channel.
    assert_eq!(sockets(stem), 3);
}

#[test]
fn a_crowded_worker_of_a_stem_shares_with_a_sibling_and_both_serve_on() {
    let mut server = preloaded(2, &["worker=crowded"]);
    server.expect_a_share();
}

#[test]
fn a_killed_worker_is_replaced_by_the_stem_with_its_reason_in_the_log() {
    let mut server = preloaded(2, &[]);
    let victim = server.worker(1);
    send(victim, Signal::KILL);
    server.expect(&format!("Worker (pid:{victim}) was sent SIGKILL!"));
    server.expect("worker 3 is told Serve");
    assert_eq!(zombies_of(server.pid()), 0);
    assert_eq!(server.count("stem 1 ready"), 1);
}

#[test]
fn a_killed_stem_costs_no_worker_and_is_replaced() {
    let mut server = preloaded(2, &[]);
    let stem = stem_of(&mut server, 1, 1);
    send(stem, Signal::KILL);
    server.expect(&format!("Stem (pid:{stem}) was sent SIGKILL!"));
    let next = stem_of(&mut server, 1, 2);
    server.expect(&format!(
        "Stem (pid:{next}) of generation 1 has loaded the application."
    ));
    assert!(!server.says("forked 3"));
    send(server.worker(2), Signal::KILL);
    server.expect("worker 3 is told Serve");
    server.signal(Signal::TERM);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn a_worker_whose_stem_dies_before_the_word_ends_and_the_restart_is_rolled_back() {
    let mut server = preloaded(1, &["next_stem=dying"]);
    server.signal(Signal::HUP);
    server.expect("restart ended 1 Some(");
    assert!(!server.says("worker 2 ready"));
    assert_eq!(server.connect(), "worker 1");
    server.signal(Signal::TERM);
    // Whatever was forked has ended too, or the output would not.
    assert_eq!(server.end(), Some(0));
}

#[test]
fn a_worker_that_was_lost_on_the_way_is_forked_again() {
    let mut server = alone(&["stem=childless"]);
    server
        .expect("Cannot fork a worker: the process between stem and worker ended with status 0x9");
    server.expect("worker 2 is told Serve");
    server.signal(Signal::TERM);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn a_stem_that_fails_at_the_start_ends_the_server_with_1() {
    for code in ["0", "1", "3", "4"] {
        let mut server = alone(&[&format!("stem=failing:{code}")]);
        assert_eq!(server.end(), Some(1));
        assert!(server.says("Reason: The application could not be preloaded."));
    }
}

#[test]
fn a_stem_that_hangs_at_the_start_ends_the_server_with_1() {
    let mut server = alone(&["stem=hanging", "boot_timeout=0.2"]);
    server.expect("was not ready within 0.2 s: aborting it.");
    assert_eq!(server.end(), Some(1));
}

#[test]
fn a_stem_that_hangs_does_not_outlast_a_stop() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let mut server = alone(&["stem=hanging"]);
        stem_of(&mut server, 1, 1);
        server.signal(signal);
        assert_eq!(server.end(), Some(0));
    }
}

#[test]
fn a_signal_to_the_whole_group_ends_stem_and_server() {
    for signal in [Signal::INT, Signal::TERM, Signal::QUIT] {
        let mut server = preloaded(2, &[]);
        server.signal_group(signal);
        assert_eq!(server.end(), Some(0));
        assert!(
            server.says("stem 1 leaves"),
            "it was not ended by the signal"
        );
    }
}

#[test]
fn a_stem_does_not_heed_signals_that_are_meant_for_the_arbiter() {
    let mut server = preloaded(1, &[]);
    let stem = stem_of(&mut server, 1, 1);
    let meant_for_the_arbiter = [
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
        Signal::TERM,
        Signal::TTIN,
        Signal::TTOU,
        Signal::WINCH,
    ];
    for signal in meant_for_the_arbiter {
        send(stem, signal);
    }
    send(server.worker(1), Signal::KILL);
    server.expect("worker 2 is told Serve");
    assert_eq!(server.count("stem 1 ready"), 1);
    // The worker has the signals back.
    send(server.worker(2), Signal::WINCH);
    send(server.worker(2), Signal::USR2);
    server.expect("was sent SIGUSR2!");
}

#[test]
fn usr1_reopens_the_stems_logs() {
    let mut server = preloaded(1, &[]);
    server.signal(Signal::USR1);
    server.expect("stem 1 reopens");
    server.expect("worker 1 hears usr1");
}

#[test]
fn stem_and_workers_end_when_the_arbiter_is_killed() {
    let mut server = alone(&["stem=hanging"]);
    stem_of(&mut server, 1, 1);
    server.signal(Signal::KILL);
    assert_eq!(server.end(), None);
    let mut server = preloaded(2, &["next_stem=hanging"]);
    server.signal(Signal::HUP);
    stem_of(&mut server, 2, 1);
    server.signal(Signal::KILL);
    assert_eq!(server.end(), None);
    assert!(server.says("stem 1 leaves"));
}

#[test]
fn a_hot_restart_boots_a_stem_of_its_own_and_lets_the_old_one_go() {
    let mut server = preloaded(2, &["observe_timeout=0"]);
    let old = stem_of(&mut server, 1, 1);
    server.signal(Signal::HUP);
    server.expect("worker 3 takes the gift of 1");
    server.expect("worker 4 takes the gift of 2");
    server.expect("restart ended 2 None");
    server.expect(&format!(
        "Stem (pid:{old}) exited with code 0. It was let go."
    ));
    assert_eq!(server.count("stem 2 ready"), 1);
}

#[test]
fn a_restart_whose_stem_fails_leaves_everything_as_it_was() {
    for nature in ["failing:0", "failing:3", "hanging"] {
        let next = format!("next_stem={nature}");
        let mut server = preloaded(2, &["boot_timeout=2", &next]);
        server.signal(Signal::HUP);
        server.expect("restart ended 1 Some(");
        let failed = stem_of(&mut server, 2, 1);
        server.expect(&format!("Stem (pid:{failed})"));
        send(server.worker(1), Signal::KILL);
        server.expect("worker 3 is told Serve");
        server.signal(Signal::TERM);
        assert_eq!(server.end(), Some(0));
    }
}

#[test]
fn an_idle_stem_and_its_arbiter_never_wake_up() {
    let mut server = preloaded(1, &[]);
    let stem = stem_of(&mut server, 1, 1);
    server.expect("worker 1 is told Serve");
    // A tick of a second would show in every such window.
    let window = Duration::from_millis(1200);
    server.falls_asleep_for(window);
    let before = wakes(stem);
    server.falls_asleep_for(window);
    assert_eq!(wakes(stem), before);
}

#[test]
fn orphans_of_the_application_are_reaped() {
    let mut server = alone(&["worker=parent"]);
    server.expect("Reaped unknown child process");
    server.expect("worker 1 is told Serve");
    assert_eq!(zombies_of(server.pid()), 0);
}

#[test]
fn an_arbiter_without_a_file_to_spare_orders_again_later() {
    let mut server = alone(&["spare_files=1"]);
    server.expect("Cannot fork the stem: Too many open files");
    server.signal(Signal::TERM);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn twenty_restarts_leave_no_descriptor_and_no_process_behind() {
    let mut server = preloaded(2, &["observe_timeout=0"]);
    let before = descriptors(server.pid()).len();
    for generation in 2..=21 {
        server.signal(Signal::HUP);
        server.expect(&format!("restart ended {generation} None"));
    }
    for id in 1..=40 {
        let pid = server.worker(id);
        server.expect(&format!("Worker (pid:{pid}) exited with code 0."));
    }
    server.expect_nth(20, "It was let go.");
    assert_eq!(descriptors(server.pid()).len(), before);
    assert_eq!(zombies_of(server.pid()), 0);
    server.signal(Signal::TERM);
    assert_eq!(server.end(), Some(0));
}

//! The arbiter with real processes, signals and sockets: what the transcripts cannot prove.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod scratch;
mod server;

use std::fs;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;
use scratch::{Scratch, argument};
use server::{Server, send, zombies_of};

#[test]
fn a_killed_worker_is_replaced_and_leaves_no_zombie() {
    let mut server = Server::ready(2, &[]);
    let victim = server.worker(1);
    send(victim, Signal::KILL);
    server.expect(&format!("Worker (pid:{victim}) was sent SIGKILL!"));
    server.expect("worker 3 ready");
    assert_eq!(zombies_of(server.pid()), 0);
}

#[test]
fn term_drains_the_workers_and_exits_with_0() {
    let mut server = Server::ready(2, &[]);
    server.signal(Signal::TERM);
    server.expect("Handling signal: term");
    server.expect("Shutting down: Master");
    server.expect("exiting 0");
    assert_eq!(server.end(), Some(0));
    assert!(server.says("worker 1 is told Drain") || server.says("worker 1 hears term"));
    assert!(!server.says("SIGKILL"));
}

#[test]
fn every_quick_signal_ends_the_server_with_0() {
    for signal in [Signal::INT, Signal::QUIT] {
        let mut server = Server::ready(2, &[]);
        server.signal(signal);
        assert_eq!(server.end(), Some(0));
        assert!(server.says("worker 1 hears quit"));
        assert!(server.says("worker 2 hears quit"));
    }
}

#[test]
fn a_signal_to_the_whole_group_ends_the_server_without_replacing_a_worker() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut server = Server::ready(2, &[]);
        server.signal_group(signal);
        assert_eq!(server.end(), Some(0));
        assert!(!server.says("forked 3"));
        assert!(server.says("worker 1 hears"));
    }
}

#[test]
fn a_worker_that_does_not_drain_is_killed_after_the_graceful_timeout() {
    let mut server = Server::ready(1, &["worker=deaf", "graceful_timeout=0.3"]);
    let worker = server.worker(1);
    server.signal(Signal::TERM);
    server.expect(&format!("Worker graceful timeout (pid:{worker})"));
    server.expect("It did not stop in time.");
    assert_eq!(server.end(), Some(0));
}

#[test]
fn a_second_signal_quickens_the_stop() {
    let mut server = Server::ready(1, &["worker=deaf", "graceful_timeout=600"]);
    server.signal(Signal::TERM);
    server.expect("worker 1 hears term");
    server.signal(Signal::INT);
    server.expect("Quick shutdown requested");
    server.expect("worker 1 hears quit");
    assert_eq!(server.end(), Some(0));
}

#[test]
fn two_signals_at_once_are_both_heeded() {
    let mut server = Server::ready(1, &[]);
    server.signal(Signal::TTIN);
    server.signal(Signal::USR1);
    server.expect("Handling signal: ttin");
    server.expect("Handling signal: usr1");
    server.expect("worker 2 ready");
    server.expect("arbiter reopens");
    server.signal(Signal::TERM);
    server.signal(Signal::INT);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn ttin_and_ttou_add_and_retire_a_worker() {
    let mut server = Server::ready(1, &[]);
    server.signal(Signal::TTIN);
    server.expect("worker 2 ready");
    let oldest = server.worker(1);
    server.signal(Signal::TTOU);
    server.expect(&format!(
        "Worker (pid:{oldest}) exited with code 0. It finished its work."
    ));
    assert_eq!(server.connect(), "worker 2");
}

#[test]
fn usr1_reopens_the_logs_everywhere() {
    let mut server = Server::ready(2, &[]);
    server.signal(Signal::USR1);
    server.expect("arbiter reopens");
    server.expect("worker 1 hears usr1");
    server.expect("worker 2 hears usr1");
    assert!(server.connect().starts_with("worker "));
}

#[test]
fn winch_does_no_harm() {
    let mut server = Server::ready(1, &[]);
    server.signal(Signal::WINCH);
    server.expect("SIGWINCH ignored");
    assert_eq!(server.connect(), "worker 1");
}

/// The successor's process, once each of the two arbiters knows that the other one is able.
fn dance(server: &mut Server) -> i32 {
    server.signal(Signal::USR2);
    let line = server.expect("Successor (pid:");
    let pid = line
        .split("(pid:")
        .nth(1)
        .and_then(|rest| rest.split(')').next());
    let pid = pid.and_then(|pid| pid.parse().ok()).expect("a pid");
    server.expect_times("The other arbiter is able.", 2);
    pid
}

#[test]
fn a_second_arbiter_listens_on_the_same_sockets_and_takes_the_firsts_place() {
    let scratch = Scratch::new("dance");
    let (pidfile, second) = (scratch.path("web.pid"), scratch.path("web.pid.2"));
    let mut server = Server::ready(1, &[&argument("pidfile", &pidfile)]);
    let url = server.url();
    let successor = dance(&mut server);
    server.expect(&format!("Listening at: {url} ({successor})"));
    let recorded = |path| fs::read_to_string(path).expect("a pidfile");
    assert_eq!(recorded(&pidfile), format!("{}\n", server.pid()));
    assert_eq!(recorded(&second), format!("{successor}\n"));
    server.signal(Signal::TERM);
    server.expect("worker 1 is told Give");
    server.expect("worker 1 takes the gift of 1");
    server.expect("names taken over");
    assert_eq!(recorded(&pidfile), format!("{successor}\n"));
    assert!(!second.exists());
    assert_eq!(server.connect(), "worker 1");
    send(successor, Signal::TERM);
    assert_eq!(server.end(), Some(0));
    assert!(!pidfile.exists());
}

#[test]
fn a_second_arbiter_that_is_told_to_stop_gives_back() {
    let mut server = Server::ready(1, &[]);
    let successor = dance(&mut server);
    server.signal(Signal::WINCH);
    server.expect("worker 1 takes the gift of 1");
    server.expect("It finished its work.");
    send(successor, Signal::TERM);
    server.expect("The workers come back.");
    server.expect("worker 2 takes the gift of 1");
    server.expect(&format!("Successor (pid:{successor}) exited with code 0"));
    assert_eq!(zombies_of(server.pid()), 0);
    assert_eq!(server.connect(), "worker 2");
}

#[test]
fn a_second_arbiter_without_a_descriptor_left_is_an_error_in_the_log() {
    let mut server = Server::ready(1, &["spare_files=2"]);
    server.signal(Signal::USR2);
    server.expect("Cannot start a successor: Too many open files");
    assert_eq!(server.connect(), "worker 1");
    server.signal(Signal::USR2);
    server.expect_times("Cannot start a successor", 2);
}

#[test]
fn two_arbiters_that_are_killed_in_turn_leave_nothing() {
    let mut server = Server::ready(1, &[]);
    let successor = dance(&mut server);
    server.signal(Signal::KILL);
    server.expect("names taken over");
    assert_eq!(server.connect(), "worker 1");
    send(successor, Signal::KILL);
    assert_eq!(server.end(), None);
}

#[test]
fn a_stuck_worker_is_aborted_and_replaced() {
    let mut server = Server::ready(1, &["worker=stuck"]);
    let worker = server.worker(1);
    assert_eq!(server.connect(), "worker 1");
    server.expect(&format!(
        "CRITICAL WORKER TIMEOUT (pid:{worker}): \"GET /slow HTTP/1.1\" from 127.0.0.1:9 has been \
         running for 31 s."
    ));
    server.expect(&format!("Worker (pid:{worker}) was sent SIGABRT!"));
    server.expect("worker 2 ready");
    assert_eq!(server.connect(), "worker 2");
}

#[test]
fn a_stuck_worker_that_heeds_nothing_is_killed() {
    let mut server = Server::ready(1, &["worker=deaf"]);
    let worker = server.worker(1);
    assert_eq!(server.connect(), "worker 1");
    server.expect("WORKER TIMEOUT");
    server.expect("worker 1 hears abrt");
    server.expect(&format!(
        "Worker (pid:{worker}) was sent SIGKILL! It did not stop in time."
    ));
    server.expect("worker 2 ready");
}

#[test]
fn a_retiring_worker_serves_until_its_successor_is_ready() {
    let mut server = Server::ready(1, &["worker=retiring"]);
    assert_eq!(server.connect(), "worker 1");
    server.expect("asks to be replaced");
    server.expect("worker 2 ready");
    server.expect("It finished its work.");
    assert_eq!(server.connect(), "worker 2");
}

#[test]
fn a_crowded_worker_shares_with_a_sibling_and_both_serve_on() {
    let mut server = Server::ready(2, &["worker=crowded"]);
    server.expect_a_share();
}

#[test]
fn workers_learn_that_the_arbiter_was_killed() {
    let mut server = Server::ready(2, &[]);
    server.signal(Signal::KILL);
    server.expect("worker 1 is told Orphaned");
    server.expect("worker 2 is told Orphaned");
    assert_eq!(server.end(), None);
}

#[test]
fn a_worker_that_cannot_boot_ends_the_server_with_3() {
    let mut server = Server::start(&["bind=127.0.0.1:0", "workers=2", "worker=failing:3"]);
    server.expect("ERROR Reason: Worker failed to boot.");
    assert_eq!(server.end(), Some(3));
}

#[test]
fn an_application_that_cannot_be_loaded_ends_the_server_with_4() {
    let mut server = Server::start(&["bind=127.0.0.1:0", "workers=2", "worker=failing:4"]);
    server.expect("ERROR Reason: App failed to load.");
    assert_eq!(server.end(), Some(4));
}

#[test]
fn a_crash_loop_is_announced_and_goes_on() {
    let mut server = Server::start(&["bind=127.0.0.1:0", "worker=failing:1"]);
    server.expect("Crash loop: 2 workers in a row died early. Next try in 0.5 s.");
    server.expect("Crash loop: 3 workers in a row died early. Next try in 1 s.");
    server.signal(Signal::TERM);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn orphans_of_other_processes_are_reaped() {
    let mut server = Server::ready(1, &["adopts_orphans=yes", "worker=parent"]);
    server.expect("DEBUG Reaped unknown child process");
    assert_eq!(zombies_of(server.pid()), 0);
}

#[test]
fn a_lack_of_descriptors_is_survived_and_the_fork_repeated() {
    let mut server = Server::start(&["bind=127.0.0.1:0", "workers=2", "spare_files=2"]);
    server.expect("ERROR Cannot fork a worker: Too many open files (os error 24).");
    server.expect("Trying again in 1 s.");
    server.expect("worker 1 ready");
    assert_eq!(server.connect(), "worker 1");
    server.signal(Signal::TERM);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn connections_outlive_the_workers_in_the_queue() {
    let mut server = Server::ready(1, &[]);
    server.url();
    send(server.worker(1), Signal::KILL);
    // Whether it comes before or after the replacement, somebody answers.
    assert!(server.connect().starts_with("worker "));
    server.expect("worker 2 ready");
}

#[test]
fn pidfile_and_unix_socket_come_and_go() {
    let scratch = Scratch::new("files");
    let (pidfile, socket) = (scratch.path("web.pid"), scratch.path("web.sock"));
    let bind = format!("bind=unix:{}", socket.display());
    let mut server = Server::start(&[&bind, &argument("pidfile", &pidfile)]);
    server.expect(&format!(
        "Listening at: unix:{} ({})",
        socket.display(),
        server.pid()
    ));
    server.expect("worker 1 ready");
    let recorded = fs::read_to_string(&pidfile).expect("the pidfile");
    assert_eq!(recorded, format!("{}\n", server.pid()));

    let mut second = Server::start(&["bind=127.0.0.1:0", &argument("pidfile", &pidfile)]);
    second.expect(&format!("fatal Already running on PID {}", server.pid()));
    assert_eq!(second.end(), Some(1));
    assert!(pidfile.exists());

    server.signal(Signal::TERM);
    assert_eq!(server.end(), Some(0));
    assert!(!pidfile.exists() && !socket.exists());
}

#[test]
fn a_worker_that_ends_does_not_take_the_files_along() {
    let scratch = Scratch::new("kept");
    let (pidfile, socket) = (scratch.path("web.pid"), scratch.path("web.sock"));
    let bind = format!("bind=unix:{}", socket.display());
    let mut server = Server::start(&[&bind, &argument("pidfile", &pidfile)]);
    server.expect("worker 1 ready");
    send(server.worker(1), Signal::TERM);
    server.expect("worker 2 ready");
    assert!(pidfile.exists() && socket.exists());
}

#[test]
fn a_stop_while_an_address_is_in_use_is_heeded() {
    let occupant = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = occupant.local_addr().expect("an address");
    let mut server = Server::start(&[&format!("bind={address}")]);
    server.expect(&format!("ERROR Connection in use: {address}"));
    server.expect("Retrying in 1 second.");
    server.signal(Signal::TERM);
    server.expect("fatal Stopped by signal term while starting");
    assert_eq!(server.end(), Some(0));
}

#[test]
fn an_address_that_stays_in_use_ends_the_server_with_1() {
    let scratch = Scratch::new("in-use");
    let pidfile = scratch.path("web.pid");
    let occupant = UnixListener::bind(scratch.path("web.sock")).expect("a socket");
    let bind = format!("bind=unix:{}", scratch.path("web.sock").display());
    let mut server = Server::start(&[&bind, &argument("pidfile", &pidfile)]);
    server.expect("fatal Can't connect to unix:");
    assert_eq!(server.end(), Some(1));
    assert_eq!(server.count("ERROR Connection in use: unix:"), 5);
    assert_eq!(server.count("INFO Retrying in 1 second."), 4);
    assert!(!pidfile.exists());
    drop(occupant);
}

#[test]
fn an_inherited_socket_is_served() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    fcntl_setfd(&socket, FdFlags::empty()).expect("it is open");
    let mut server = Server::start(&[&format!("bind=fd://{}", socket.as_raw_fd())]);
    drop(socket);
    server.expect(&format!("Listening at: http://{address} ("));
    server.expect("worker 1 ready");
    assert_eq!(server.connect(), "worker 1");
}

#[test]
fn an_idle_arbiter_never_wakes_up() {
    let mut server = Server::ready(2, &[]);
    // A tick of a second would show in every such window.
    server.falls_asleep_for(Duration::from_millis(1200));
}

/// The session of a process. It is 0 for one whose session began outside of this PID namespace (the
/// test runner of a container, say), which `getsid` of rustix takes for a broken kernel.
fn session_of(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is alive");
    // "PID (NAME) STATE PPID PGRP SESSION ...": the name may hold anything.
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    let session = rest.split_whitespace().nth(3).expect("a session");
    session.parse().expect("a number")
}

#[test]
fn a_daemon_leaves_its_starter_and_its_session() {
    let scratch = Scratch::new("daemon");
    let pidfile = scratch.path("web.pid");
    let mut server = Server::start(&[
        "bind=127.0.0.1:0",
        "daemon=yes",
        &argument("pidfile", &pidfile),
    ]);
    server.expect("worker 1 ready");
    let recorded = fs::read_to_string(&pidfile).expect("the pidfile");
    let daemon: i32 = recorded.trim().parse().expect("a number");
    assert_ne!(daemon, server.pid());
    let session = session_of(daemon);
    assert_ne!(session, session_of(std::process::id().cast_signed()));
    assert_ne!(session, daemon, "a session's leader could get a terminal");
    send(daemon, Signal::TERM);
    // The starter ended with 0 as soon as the daemon was on its own.
    assert_eq!(server.end(), Some(0));
    assert!(!pidfile.exists());
}

#[test]
fn a_hot_restart_connects_old_and_new_workers_and_lets_the_old_ones_go() {
    let mut server = Server::ready(2, &["observe_timeout=0.2"]);
    server.signal(Signal::HUP);
    server.expect("configuration for 2");
    server.expect("worker 3 takes the gift of 1");
    server.expect("worker 4 takes the gift of 2");
    let old = server.worker(1);
    server.expect(&format!("Worker (pid:{old}) gave its connections away."));
    server.expect("restart ended 2 None");
    server.expect(&format!("Worker (pid:{old}) exited with code 0."));
    let other = server.worker(2);
    server.expect(&format!("Worker (pid:{other}) exited with code 0."));
    let answer = server.connect();
    assert!(
        ["worker 3", "worker 4"].contains(&answer.as_str()),
        "{answer}"
    );
    assert_eq!(zombies_of(server.pid()), 0);
}

#[test]
fn a_new_worker_that_is_killed_while_it_is_observed_gives_way_to_the_old_one() {
    let mut server = Server::ready(1, &["observe_timeout=600"]);
    server.signal(Signal::HUP);
    server.expect("Generation 2 serves");
    server.expect("worker 2 takes the gift of 1");
    let new = server.worker(2);
    send(new, Signal::KILL);
    server.expect("restart ended 1 Some");
    assert_eq!(server.connect(), "worker 1");
}

#[test]
fn new_workers_that_fail_to_boot_leave_the_old_ones_as_they_were() {
    for (mode, nature) in [
        ("hot", "failing:3"),
        ("phased", "failing:0"),
        ("regular", "failing:4"),
    ] {
        let mode = format!("restart_mode={mode}");
        let nature = format!("next_worker={nature}");
        let mut server = Server::ready(2, &[&mode, &nature]);
        server.signal(Signal::HUP);
        server.expect("restart ended 1 Some");
        assert!(["worker 1", "worker 2"].contains(&server.connect().as_str()));
        assert!(!server.says("worker 1 is told Park"));
        assert!(!server.says("worker 2 is told Park"));
    }
}

#[test]
fn a_phased_restart_relieves_one_worker_after_the_other() {
    let options = ["observe_timeout=0", "restart_mode=phased"];
    let mut server = Server::ready(2, &options);
    server.signal(Signal::HUP);
    server.expect("restart ended 2 None");
    server.expect("worker 3 takes the gift of 1");
    server.expect("worker 4 takes the gift of 2");
    server.signal(Signal::TERM);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn a_regular_restart_serves_after_the_old_workers_have_gone() {
    let mut server = Server::ready(2, &["restart_mode=regular"]);
    let old = [server.worker(1), server.worker(2)];
    server.signal(Signal::HUP);
    server.expect("restart ended 2 None");
    for pid in old {
        assert!(server.says(&format!("Worker (pid:{pid}) exited with code 0.")));
    }
    let answer = server.connect();
    assert!(
        ["worker 3", "worker 4"].contains(&answer.as_str()),
        "{answer}"
    );
}

#[test]
fn an_arbiter_that_can_open_no_more_files_restarts_all_the_same() {
    // One for each worker's channel and one for what it counts, and one more while a worker is forked:
    // the new worker's counts, and then a pair for the connections, are one too many.
    let mut server = Server::ready(1, &["observe_timeout=0.2", "spare_files=4"]);
    server.signal(Signal::HUP);
    server.expect("What worker 2 does cannot be counted: Too many open files");
    server.expect("Can't connect worker 1 with worker 2");
    server.expect("worker 1 is told Park");
    server.expect("restart ended 2 None");
    assert_eq!(server.connect(), "worker 2");
}

#[test]
fn an_arbiter_without_a_single_file_left_refuses_the_restart_and_goes_on() {
    let mut server = Server::ready(1, &["spare_files=2"]);
    server.signal(Signal::HUP);
    server.expect("Restart rolled back, generation 1 goes on serving: Cannot fork a worker");
    assert_eq!(server.connect(), "worker 1");
}

#[test]
fn an_arbiter_that_watches_a_new_generation_does_not_wake_up_for_it() {
    let mut server = Server::ready(1, &["observe_timeout=600"]);
    server.signal(Signal::HUP);
    server.expect("worker 2 is told Serve");
    server.expect("worker 2 takes the gift of 1");
    server.expect("gave its connections away");
    server.falls_asleep_for(Duration::from_millis(1200));
}

#[test]
fn fifty_restarts_leave_no_descriptor_and_no_process_behind() {
    let mut server = Server::ready(2, &["observe_timeout=0"]);
    let held = |server: &Server| {
        let folder = format!("/proc/{}/fd", server.pid());
        fs::read_dir(folder).expect("it is alive").count()
    };
    let before = held(&server);
    for generation in 2..52 {
        server.signal(Signal::HUP);
        server.expect(&format!("restart ended {generation} None"));
    }
    let oldest = server.worker(100);
    server.expect(&format!("Worker (pid:{oldest}) exited with code 0."));
    let second = server.worker(99);
    server.expect(&format!("Worker (pid:{second}) exited with code 0."));
    assert_eq!(held(&server), before);
    assert_eq!(zombies_of(server.pid()), 0);
    server.signal(Signal::TERM);
    assert_eq!(server.end(), Some(0));
}

/// A service manager, and the argument that makes a server talk to it.
fn manager(scratch: &Scratch) -> (UnixDatagram, String) {
    let path = scratch.path("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    let patience = Some(Duration::from_secs(20));
    manager.set_read_timeout(patience).expect("a timeout");
    (manager, argument("notify_socket", &path))
}

fn told(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let length = manager.recv(&mut buffer).expect("it is told");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[test]
fn a_service_manager_is_told_in_the_order_in_which_things_happen() {
    let scratch = Scratch::new("manager");
    let (manager, notify) = manager(&scratch);
    let mut server = Server::ready(1, &[&notify, "observe_timeout=0"]);
    assert_eq!(told(&manager), "STATUS=Generation 1 boots.");
    let ready = format!("READY=1\nMAINPID={}\nSTATUS=Generation", server.pid());
    assert_eq!(told(&manager), format!("{ready} 1 serves."));
    server.signal(Signal::HUP);
    assert!(told(&manager).starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(told(&manager).contains("generation 2 boots beside 1."));
    assert!(told(&manager).starts_with("STATUS=Generation 2 serves; 1 stands by"));
    assert_eq!(told(&manager), format!("{ready} 2 serves."));
    server.signal(Signal::TERM);
    assert!(told(&manager).starts_with("STOPPING=1\n"));
    assert_eq!(server.end(), Some(0));
}

#[test]
fn a_watchdog_hears_of_an_arbiter_that_has_nothing_to_do() {
    let scratch = Scratch::new("watchdog");
    let (manager, notify) = manager(&scratch);
    let mut server = Server::ready(1, &[&notify, "watchdog_usec=100000"]);
    let start = Instant::now();
    let pings = std::iter::repeat_with(|| told(&manager)).filter(|message| message == "WATCHDOG=1");
    assert_eq!(pings.take(7).count(), 7);
    assert!(start.elapsed() >= Duration::from_millis(250));
    server.signal(Signal::TERM);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn a_worker_serves_during_the_shutdown_delay() {
    let mut server = Server::ready(1, &["shutdown_delay=600"]);
    server.signal(Signal::TERM);
    server.expect("Stopping in 600 s, serving on until then.");
    assert_eq!(server.connect(), "worker 1");
    server.signal(Signal::TERM);
    assert_eq!(server.end(), Some(0));
    assert!(server.says("worker 1 is told Drain") || server.says("worker 1 hears term"));
}

#[test]
fn a_stop_begins_by_itself_when_the_shutdown_delay_is_over() {
    let mut server = Server::ready(1, &["shutdown_delay=0.5"]);
    let start = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.end(), Some(0));
    assert!(start.elapsed() >= Duration::from_millis(500));
}

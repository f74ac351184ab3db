//! The control socket with real clients, and without a server.

use super::*;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::event::{PollFd, poll};

use crate::scratch::Scratch;

/// A control socket that answers each request with `done` as soon as it is understood.
struct Site {
    scratch: Scratch,
    control: Control,
}

impl Site {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let control = Control::open(&socket(scratch.folder().join("c"), 0o600), 7);
        Self { scratch, control }
    }

    fn path(&self) -> PathBuf {
        self.scratch.folder().join("c")
    }

    fn client(&self) -> UnixStream {
        let stream = UnixStream::connect(self.path()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream
    }

    /// Looks after everybody who is ready, until nobody is.
    fn turn(&mut self) {
        loop {
            let interests = self.control.interests();
            let mut fds: Vec<PollFd<'_>> = interests
                .iter()
                .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
                .collect();
            let none = crate::translate::timespec(Duration::ZERO);
            poll(&mut fds, Some(&none)).unwrap();
            let ready: Vec<Source> = interests
                .iter()
                .zip(&fds)
                .filter(|(_, fd)| !fd.revents().is_empty())
                .map(|((source, ..), _)| *source)
                .collect();
            if ready.is_empty() {
                return;
            }
            self.control.turn(&ready);
        }
    }

    fn answer_all(&mut self, answer: &str) {
        self.turn();
        while let Some((asker, _)) = self.control.next_request() {
            self.control.answer(asker, answer.to_owned());
        }
    }
}

fn socket(path: PathBuf, mode: u32) -> ControlSocket {
    ControlSocket {
        place: ControlPlace::Path(path),
        mode,
    }
}

fn heard(mut stream: UnixStream) -> String {
    let mut text = String::new();
    match stream.read_to_string(&mut text) {
        Ok(_) => {}
        // Closed with something of ours unread.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    text
}

#[test]
fn a_request_in_pieces_is_answered_once_and_closed() {
    let mut site = Site::new("pieces");
    let mut client = site.client();
    client.write_all(b"oxicorn/1 st").unwrap();
    site.turn();
    assert_eq!(site.control.next_request(), None);
    client.write_all(b"atus\n").unwrap();
    site.turn();
    let (asker, request) = site.control.next_request().unwrap();
    assert_eq!(request, Request::Status);
    site.control.answer(asker, done());
    assert_eq!(heard(client), "{\"ok\":true}\n");
    assert!(site.control.clients.is_empty());
}

#[test]
fn a_client_that_has_ended_its_side_is_still_answered() {
    let mut site = Site::new("half");
    let mut client = site.client();
    client.write_all(b"oxicorn/1 restart wait\n").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    site.answer_all("late");
    assert_eq!(heard(client), "late\n");
}

#[test]
fn garbage_is_refused() {
    let mut site = Site::new("garbage");
    for garbage in [&b"\xff\xfe\n"[..], b"\n", &[b'x'; 300], b"oxicorn/1\n"] {
        let mut client = site.client();
        client.write_all(garbage).unwrap();
        site.turn();
        let answer = heard(client);
        assert!(answer.starts_with("{\"ok\":false,"), "{answer}");
    }
    assert!(site.control.clients.is_empty());
}

#[test]
fn a_client_that_vanishes_is_forgotten() {
    let mut site = Site::new("vanishes");
    drop(site.client());
    let mut waiting = site.client();
    waiting.write_all(b"oxicorn/1 restart wait\n").unwrap();
    site.turn();
    let (asker, _) = site.control.next_request().unwrap();
    assert_eq!(site.control.clients.len(), 1);
    drop(waiting);
    site.turn();
    assert!(site.control.clients.is_empty());
    site.control.answer(asker, done());
}

#[test]
fn clients_that_never_read_are_told_what_fits_and_make_room_for_others() {
    let mut site = Site::new("unread");
    let long = "x".repeat(4_000_000);
    let mut silent: Vec<UnixStream> = (0..MOST_CLIENTS).map(|_| site.client()).collect();
    for client in &mut silent {
        client.write_all(b"oxicorn/1 status\n").unwrap();
    }
    site.answer_all(&long);
    assert_eq!(site.control.clients.len(), MOST_CLIENTS);
    let mut client = site.client();
    client.write_all(b"oxicorn/1 status\n").unwrap();
    site.answer_all("short");
    assert_eq!(heard(client), "short\n");
}

#[test]
fn a_long_answer_leaves_bit_by_bit() {
    let mut site = Site::new("long");
    let long = "x".repeat(1_000_000);
    let mut client = site.client();
    client.write_all(b"oxicorn/1 status\n").unwrap();
    site.answer_all(&long);
    let mut heard = Vec::new();
    let mut bytes = [0; 8_192];
    while heard.len() <= long.len() {
        site.turn();
        let count = client.read(&mut bytes).unwrap();
        heard.extend_from_slice(&bytes[..count]);
    }
    assert_eq!(heard.len(), long.len() + 1);
    site.turn();
    assert_eq!(client.read(&mut bytes).unwrap(), 0);
}

#[test]
fn those_who_wait_for_a_restart_keep_their_places() {
    let mut site = Site::new("waiting");
    let mut waiting: Vec<UnixStream> = (0..MOST_CLIENTS).map(|_| site.client()).collect();
    for client in &mut waiting {
        client.write_all(b"oxicorn/1 restart wait\n").unwrap();
    }
    site.turn();
    let late = site.client();
    site.answer_all("ended");
    assert!(heard(late).contains("too many clients"));
    for client in waiting {
        assert_eq!(heard(client), "ended\n");
    }
}

#[test]
fn the_file_has_the_mode_that_was_asked_for_and_goes_in_the_end() {
    let mut site = Site::new("mode");
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(site.path()), 0o600);
    let other = site.scratch.folder().join("other");
    let mut wider = Control::open(&socket(other.clone(), 0o660), 7);
    assert_eq!(mode(other.clone()), 0o660);
    wider.retire();
    site.control.retire();
    assert!(!site.path().exists() && !other.exists());
}

#[test]
fn a_place_that_cannot_be_is_no_reason_to_fail() {
    let scratch = Scratch::new("nowhere");
    let missing = scratch.folder().join("missing").join("c");
    assert!(Control::open(&socket(missing, 0o600), 7).listener.is_none());
    let file = scratch.folder().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(
        Control::open(&socket(file.clone(), 0o600), 7)
            .listener
            .is_none()
    );
    assert_eq!(std::fs::read_to_string(file).unwrap(), "precious");
}

#[test]
fn a_living_server_keeps_its_socket_and_a_dead_ones_is_replaced() {
    let site = Site::new("taken");
    let again = Control::open(&socket(site.path(), 0o600), 7);
    assert!(again.listener.is_none());
    let path = site.path();
    let Site { control, scratch } = site;
    // As by SIGKILL: closed, and the file is left.
    drop(control);
    assert!(path.exists());
    assert!(Control::open(&socket(path, 0o600), 7).listener.is_some());
    drop(scratch);
}

#[test]
fn after_a_refused_descriptor_accepting_pauses() {
    let mut site = Site::new("pause");
    site.control.paused_until = Some(Instant::now() + PAUSE);
    let client = site.client();
    site.turn();
    assert!(site.control.clients.is_empty());
    assert!(site.control.patience().is_some_and(|time| time <= PAUSE));
    site.control.paused_until = Some(Instant::now());
    site.control.turn(&[]);
    assert_eq!(site.control.patience(), None);
    site.turn();
    assert_eq!(site.control.clients.len(), 1);
    drop(client);
}

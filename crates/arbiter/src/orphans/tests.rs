//! An arbiter and orphans that meet, in one process.

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};

use super::*;
use crate::packet::{packet_pair, receive, transmit, transmit_with};
use crate::scratch::Scratch;

/// A server whose arbiter is gone.
struct Left {
    listener: TcpListener,
    place: MeetingPlace,
}

impl Left {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = ListenAddr::of(&listener).unwrap();
        let place = MeetingPlace::open(&Name::of(&local).unwrap()).unwrap();
        Self { listener, place }
    }

    fn address(&self) -> Address {
        let local = self.listener.local_addr().unwrap();
        local.to_string().parse().unwrap()
    }

    /// The next arbiter that calls.
    fn accept(&self) -> OrphanLink {
        loop {
            wait_for(&self.place);
            if let Some(link) = self.place.accept() {
                return link;
            }
        }
    }

    /// As an orphan does.
    fn introduce(&self) -> OrphanLink {
        let link = self.accept();
        let called = heard(&link);
        if called == (Word::Call { seeks: true }) {
            let listeners = [self.listener.as_fd()];
            link.send_sockets(&listeners, &self.place).unwrap();
        }
        link.hello().unwrap();
        link
    }
}

fn wait_for(fd: impl AsFd) {
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
}

fn heard(link: &OrphanLink) -> Word {
    wait_for(link);
    link.heard()
}

fn turned(arbiter: &mut Orphans) -> Vec<News> {
    let fds: Vec<_> = arbiter.interests().collect();
    let mut fds: Vec<_> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    poll(&mut fds, None).unwrap();
    drop(fds);
    arbiter.turn()
}

/// An arbiter that was started while an orphan was there.
fn met() -> (Left, Orphans, OrphanLink) {
    let left = Left::new();
    let address = left.address();
    let seeker = thread::spawn(move || Orphans::sought(Some(&address)));
    let link = left.introduce();
    (left, seeker.join().unwrap(), link)
}

#[test]
fn nobody_is_found_where_nobody_is() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let start = Instant::now();
    let mut found = Orphans::sought(Some(&address));
    assert!(start.elapsed() < PATIENCE, "it waited for nobody");
    assert!(found.turn().is_empty());
    assert!(found.listener_at(&address).is_none());
}

#[test]
fn the_first_orphan_sends_its_sockets_and_the_next_ones_say_hello() {
    let (left, mut arbiter, first) = met();
    let listener = arbiter.listener_at(&left.address()).unwrap();
    assert_eq!(listener.local, ListenAddr::of(&left.listener).unwrap());
    assert!(arbiter.listener_at(&left.address()).is_none(), "once");
    arbiter.settle(&mut [listener]);
    let own = i32::try_from(std::process::id()).unwrap();
    assert!(matches!(arbiter.turn()[..], [News::Found { orphan: 1, pid }] if pid == own));

    let second = left.accept();
    assert_eq!(heard(&second), Word::Call { seeks: false });
    second.hello().unwrap();
    assert!(matches!(
        turned(&mut arbiter)[..],
        [News::Found { orphan: 2, .. }]
    ));

    drop(first);
    assert!(matches!(
        turned(&mut arbiter)[..],
        [News::Gone { orphan: 1 }]
    ));
    drop(second);
    assert!(matches!(
        turned(&mut arbiter)[..],
        [News::Gone { orphan: 2 }]
    ));
    assert!(!arbiter.serve_on());
}

#[test]
fn connections_are_offered_by_who_is_told_to_give() {
    let (_left, mut arbiter, link) = met();
    arbiter.turn();
    arbiter.relieve(1);
    assert_eq!(heard(&link), Word::Give);
    let ours = link.offer().unwrap();
    let news = turned(&mut arbiter);
    let [News::Offered(theirs)] = &news[..] else {
        panic!("{news:?}");
    };
    transmit(&ours, b"a connection").unwrap();
    let mut buffer = [0; 64];
    assert_eq!(receive(theirs, &mut buffer), Ok(Some(&b"a connection"[..])));
    // Nobody took them: it is found again.
    link.hello().unwrap();
    assert!(matches!(
        turned(&mut arbiter)[..],
        [News::Found { orphan: 1, .. }]
    ));
    assert!(arbiter.serve_on());
    arbiter.dismiss(1);
    assert_eq!(heard(&link), Word::Leave);
    assert!(!arbiter.serve_on());
}

#[test]
fn who_does_not_answer_is_waited_for_once_and_heard_later() {
    let left = Left::new();
    let mut arbiter = Orphans::sought(Some(&left.address()));
    assert!(arbiter.turn().is_empty());
    assert!(arbiter.listener_at(&left.address()).is_none());
    let _link = left.introduce();
    assert!(arbiter.listener_at(&left.address()).is_some());
    assert_eq!(arbiter.turn().len(), 1);
}

#[test]
fn calls_of_arbiters_that_are_gone_are_passed_over() {
    let (left, arbiter, link) = met();
    drop(arbiter);
    assert_eq!(heard(&link), Word::End);
    // It had called for the next one.
    let stale = left.accept();
    assert_eq!(heard(&stale), Word::Call { seeks: false });
    assert_eq!(stale.heard(), Word::End);
    assert!(stale.hello().is_err());
    assert!(left.place.accept().is_none());
}

#[test]
fn who_talks_nonsense_is_no_partner() {
    let (ours, theirs) = packet_pair().unwrap();
    let link = OrphanLink::over(theirs);
    for message in [&b"\x02\x01"[..], b"\x01\x09", &[7; 200]] {
        transmit(&ours, message).unwrap();
        assert_eq!(link.heard(), Word::End, "{message:?}");
    }
    let (ours, theirs) = packet_pair().unwrap();
    let call = Call::over(theirs);
    for message in [
        &b"\x01\x43"[..],
        b"\x01\x43short",
        b"\x01\x41",
        b"\x02\x43four",
    ] {
        let (kept, sent) = packet_pair().unwrap();
        transmit_with(&ours, message, &[sent.as_fd()]).unwrap();
        drop(sent);
        let fits = matches!(call.heard(), Answer::Socket(_) | Answer::End);
        assert!(fits, "{message:?}");
        assert_eq!(receive(&kept, &mut [0; 8]), Ok(None), "{message:?} leaks");
    }
}

#[test]
fn a_meeting_place_that_ends_every_call_is_left_alone() {
    let left = Left::new();
    let own = left.place.as_fd().try_clone_to_owned().unwrap();
    let mut arbiter = Orphans::meeting_at(Some(own));
    arbiter.attend();
    for _ in 0..MOST_REFUSALS {
        drop(left.place.accept().unwrap());
        arbiter.hear_call();
    }
    assert!(left.place.accept().is_none() && arbiter.call.is_none());
    // Until something changes.
    arbiter.attend();
    assert!(left.place.accept().is_some());
}

#[test]
fn one_name_has_one_meeting_place_and_a_file_its_own_name() {
    let scratch = Scratch::new("meeting");
    let path = scratch.folder().join("web.sock");
    let name = || Name::of(&ListenAddr::Unix(path.clone())).unwrap();
    let _first = UnixListener::bind(&path).unwrap();
    let place = MeetingPlace::open(&name()).unwrap();
    let taken = MeetingPlace::open(&place.name().unwrap()).unwrap_err();
    assert_eq!(taken.raw_os_error(), Some(libc::EADDRINUSE));
    // Another file of the same name, as it is in another mount namespace.
    std::fs::rename(&path, scratch.folder().join("old.sock")).unwrap();
    let _second = UnixListener::bind(&path).unwrap();
    MeetingPlace::open(&name()).unwrap();
}

#[test]
fn an_address_that_is_not_known_yet_has_no_meeting_place() {
    let anywhere = Address::Tcp {
        host: "127.0.0.1".to_owned(),
        port: 0,
    };
    assert!(Orphans::sought(Some(&anywhere)).name.is_none());
    assert!(Orphans::sought(None).name.is_none());
}

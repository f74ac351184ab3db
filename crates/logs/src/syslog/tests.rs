//! What a daemon gets, from one that is there, one that comes later, and one that goes and comes back.

use std::io::Read as _;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};

use super::*;

/// A folder that goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("oxicorn-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tag(place: SyslogPlace) -> SyslogTag {
    SyslogTag {
        syslog: Syslog::new(place, 16),
        tag: "gunicorn.shop.error".to_owned(),
    }
}

fn expected(priority: u16, message: &str) -> String {
    let pid = std::process::id();
    format!("<{priority}>gunicorn.shop.error: [{pid}] {message}\0")
}

fn datagram(socket: &UnixDatagram) -> String {
    let mut buffer = vec![0; 1 << 20];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[test]
fn a_line_is_facility_and_severity_the_programs_name_and_the_message() {
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tag = tag(SyslogPlace::Udp(daemon.local_addr().unwrap()));
    for (level, priority) in [
        (Level::Debug, 135),
        (Level::Info, 134),
        (Level::Warning, 132),
        (Level::Error, 131),
        (Level::Critical, 130),
    ] {
        assert!(matches!(tag.send(level, b"two\nlines"), Delivery::Written));
        let mut buffer = [0; 1000];
        let length = daemon.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]);
        assert_eq!(text, expected(priority, "two\nlines"));
    }
}

#[test]
fn a_daemon_that_is_restarted_is_found_again() {
    let folder = Folder::new("syslog-restarted");
    let place = SyslogPlace::Unix(folder.socket(), Some(SyslogKind::Datagrams));
    let daemon = UnixDatagram::bind(folder.socket()).unwrap();
    let tag = tag(place);
    tag.send(Level::Info, b"first");
    assert_eq!(datagram(&daemon), expected(134, "first"));

    drop(daemon);
    assert!(matches!(
        tag.send(Level::Info, b"lost"),
        Delivery::Failed(_)
    ));
    std::fs::remove_file(folder.socket()).unwrap();
    assert!(matches!(tag.send(Level::Info, b"lost"), Delivery::Lost));

    let daemon = UnixDatagram::bind(folder.socket()).unwrap();
    let recovered = tag.send(Level::Info, b"again");
    assert!(matches!(recovered, Delivery::Recovered { lost: 2, .. }));
    assert_eq!(datagram(&daemon), expected(134, "again"));
    assert_eq!(tag.syslog.lost(), 2);
}

#[test]
fn a_daemon_that_comes_later_is_found() {
    let folder = Folder::new("syslog-late");
    let tag = tag(SyslogPlace::Unix(folder.socket(), None));
    assert!(matches!(
        tag.send(Level::Info, b"early"),
        Delivery::Failed(_)
    ));
    let daemon = UnixDatagram::bind(folder.socket()).unwrap();
    tag.send(Level::Info, b"late");
    assert_eq!(datagram(&daemon), expected(134, "late"));
}

#[test]
fn a_stream_is_found_where_there_are_no_datagrams() {
    for kind in [None, Some(SyslogKind::Stream)] {
        let folder = Folder::new(&format!("syslog-stream-{}", kind.is_some()));
        let daemon = UnixListener::bind(folder.socket()).unwrap();
        let tag = tag(SyslogPlace::Unix(folder.socket(), kind));
        tag.send(Level::Info, b"one");
        tag.send(Level::Info, b"two");
        let (mut stream, _) = daemon.accept().unwrap();
        drop(tag);
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, expected(134, "one") + &expected(134, "two"));
    }
}

#[test]
fn a_stream_over_tcp_is_connected_at_the_start() {
    let daemon = TcpListener::bind("127.0.0.1:0").unwrap();
    let tag = tag(SyslogPlace::Tcp(daemon.local_addr().unwrap()));
    let (mut stream, _) = daemon.accept().unwrap();
    assert!(matches!(tag.send(Level::Error, b"said"), Delivery::Written));
    drop(tag);
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, expected(131, "said"));
}

#[test]
fn a_daemon_that_reads_nothing_costs_its_lines_and_hardly_any_time() {
    let folder = Folder::new("syslog-stuck");
    let daemon = UnixDatagram::bind(folder.socket()).unwrap();
    let tag = tag(SyslogPlace::Unix(folder.socket(), None));
    let begun = Instant::now();
    let mut sent = 0;
    while !matches!(tag.send(Level::Info, &[b'x'; 1000]), Delivery::Failed(_)) {
        sent += 1;
    }
    for _ in 0..10_000 {
        assert!(matches!(tag.send(Level::Info, b"lost"), Delivery::Lost));
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
    for _ in 0..sent {
        assert!(datagram(&daemon).ends_with("x\0"));
    }
    let recovered = tag.send(Level::Info, b"again");
    assert!(matches!(
        recovered,
        Delivery::Recovered { lost: 10_001, .. }
    ));
}

#[test]
fn a_message_that_no_datagram_holds_is_cut() {
    let folder = Folder::new("syslog-long");
    let daemon = UnixDatagram::bind(folder.socket()).unwrap();
    let tag = tag(SyslogPlace::Unix(folder.socket(), None));
    let message = "\u{e9}".repeat(1 << 20);
    assert!(matches!(
        tag.send(Level::Info, message.as_bytes()),
        Delivery::Written
    ));
    let text = datagram(&daemon);
    assert!(
        text.len() <= CUT + 1 && text.len() > CUT - 2,
        "{}",
        text.len()
    );
    assert!(text.ends_with("\u{e9}\0"));
}

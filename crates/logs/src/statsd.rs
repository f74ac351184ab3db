//! Numbers to a `StatsD` server, by gunicorn's names.
//!
//! For: what was counted of requests and of lines of the error log, and numbers of the operator's
//! own. Not for: names of hosts (who makes it resolves them), or counting anything itself.
//!
//! Invariants: nobody waits. What the socket does not take is counted as lost and not repeated; a
//! server that was restarted is found again. Numbers of requests are gathered until the worker comes to rest.

use std::fmt;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The longest datagram: what an Ethernet frame holds.
const PACKET: usize = 1432;

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatsdPlace {
    /// UDP.
    Udp(SocketAddr),
    /// A Unix socket of datagrams.
    Unix(PathBuf),
}

/// What a number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// To be added.
    Counter,
    /// What is at this moment.
    Gauge,
    /// One of many, for their distribution.
    Histogram,
    /// Milliseconds.
    Timer,
}

impl Metric {
    /// By the name that gunicorn has for it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "counter" => Some(Self::Counter),
            "gauge" => Some(Self::Gauge),
            "histogram" => Some(Self::Histogram),
            "timer" => Some(Self::Timer),
            _ => None,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Counter => "c|@1.0",
            Self::Gauge => "g",
            Self::Histogram => "h",
            Self::Timer => "ms",
        }
    }
}

/// The numbers of one process.
#[derive(Debug)]
pub struct Statsd {
    place: StatsdPlace,
    prefix: String,
    /// What follows every number.
    tags: String,
    socket: Socket,
    gathered: Mutex<Gathered>,
    lost: AtomicU64,
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

#[derive(Debug)]
struct Gathered {
    /// Whose numbers they are: a process that was forked must not send its parent's again.
    process: u32,
    text: String,
}

impl Statsd {
    /// Sends to `place`. `prefix` stands before every name, with one dot; `tags` (Datadog's) behind
    /// every number.
    ///
    /// # Errors
    ///
    /// There is no socket to be had.
    pub fn new(place: StatsdPlace, prefix: &str, tags: &str) -> std::io::Result<Self> {
        let socket = Socket::towards(&place)?;
        let tags = if tags.is_empty() {
            String::new()
        } else {
            format!("|#{tags}")
        };
        let prefix = prefix.trim_end_matches('.');
        Ok(Self {
            place,
            prefix: if prefix.is_empty() {
                String::new()
            } else {
                format!("{prefix}.")
            },
            tags,
            socket,
            gathered: Mutex::new(Gathered {
                process: std::process::id(),
                text: String::with_capacity(2 * PACKET),
            }),
            lost: AtomicU64::new(0),
        })
    }

    /// Sends one number at once.
    pub fn send(&self, name: &str, value: impl fmt::Display, metric: Metric) {
        let mut text = String::new();
        self.push(&mut text, name, value, metric);
        self.transmit(&text);
    }

    /// Notes a finished request; it is sent by the next [`Self::flush`], or when a datagram is full.
    pub fn request(&self, duration: Duration, status: u16) {
        let Ok(mut gathered) = self.gathered.lock() else {
            return;
        };
        gathered.begin();
        let milliseconds = duration.as_secs_f64() * 1000.0;
        let milliseconds = (milliseconds * 1000.0).round() / 1000.0;
        let text = &mut gathered.text;
        let before = text.len();
        self.push(
            text,
            "gunicorn.request.duration",
            format_args!("{milliseconds:?}"),
            Metric::Timer,
        );
        self.push(text, "gunicorn.requests", 1, Metric::Counter);
        let by_status = format_args!("gunicorn.request.status.{status}");
        self.push(text, by_status, 1, Metric::Counter);
        if text.len() > PACKET {
            let last = text.split_off(before);
            self.transmit(text);
            *text = last;
        }
    }

    /// Sends what has gathered.
    pub fn flush(&self) {
        let Ok(mut gathered) = self.gathered.lock() else {
            return;
        };
        gathered.begin();
        self.transmit(&gathered.text);
        gathered.text.clear();
    }

    /// How many datagrams were lost, as far as this end can tell.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// One number a line, as every server takes them.
    fn push(
        &self,
        text: &mut String,
        name: impl fmt::Display,
        value: impl fmt::Display,
        metric: Metric,
    ) {
        let separator = if text.is_empty() { "" } else { "\n" };
        let (prefix, code, tags) = (&self.prefix, metric.code(), &self.tags);
        // A String takes everything.
        let _ = write!(text, "{separator}{prefix}{name}:{value}|{code}{tags}");
    }

    fn transmit(&self, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut packet = text.strip_prefix('\n').unwrap_or(text);
        while !packet.is_empty() {
            let (first, rest) = packet.split_at(packet_of(packet));
            if !self.socket.send(&self.place, first.as_bytes()) {
                self.lost.fetch_add(1, Relaxed);
            }
            packet = rest.strip_prefix('\n').unwrap_or(rest);
        }
    }
}

/// How much of `text` goes into one datagram: as many lines as it holds, at least one.
fn packet_of(text: &str) -> usize {
    if text.len() <= PACKET {
        return text.len();
    }
    let within = text.as_bytes()[..PACKET]
        .iter()
        .rposition(|&byte| byte == b'\n');
    within.or_else(|| text.find('\n')).unwrap_or(text.len())
}

impl Gathered {
    fn begin(&mut self) {
        let process = std::process::id();
        if self.process != process {
            self.process = process;
            self.text.clear();
        }
    }
}

impl Socket {
    fn towards(place: &StatsdPlace) -> std::io::Result<Self> {
        match place {
            StatsdPlace::Udp(address) => {
                let any: SocketAddr = if address.is_ipv4() {
                    (Ipv4Addr::UNSPECIFIED, 0).into()
                } else {
                    (Ipv6Addr::UNSPECIFIED, 0).into()
                };
                let socket = UdpSocket::bind(any)?;
                socket.set_nonblocking(true)?;
                Ok(Self::Udp(socket))
            }
            StatsdPlace::Unix(_) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                Ok(Self::Unix(socket))
            }
        }
    }

    /// Not connected, so that no error of an earlier datagram comes back, and a new server at the same
    /// path is as good as the old one.
    fn send(&self, place: &StatsdPlace, packet: &[u8]) -> bool {
        let sent = match (self, place) {
            (Self::Udp(socket), StatsdPlace::Udp(address)) => socket.send_to(packet, address),
            (Self::Unix(socket), StatsdPlace::Unix(path)) => socket.send_to(packet, path),
            _ => return false,
        };
        sent.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> (UdpSocket, StatsdPlace) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let place = StatsdPlace::Udp(socket.local_addr().unwrap());
        (socket, place)
    }

    fn received(socket: &UdpSocket) -> String {
        let mut buffer = vec![0; 65_536];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_request_is_three_numbers_in_gunicorns_order() {
        let (socket, place) = server();
        let statsd = Statsd::new(place, "", "").unwrap();
        statsd.request(Duration::from_micros(12_345), 200);
        statsd.request(Duration::from_millis(2), 404);
        statsd.flush();
        assert_eq!(
            received(&socket),
            "gunicorn.request.duration:12.345|ms\n\
             gunicorn.requests:1|c|@1.0\n\
             gunicorn.request.status.200:1|c|@1.0\n\
             gunicorn.request.duration:2.0|ms\n\
             gunicorn.requests:1|c|@1.0\n\
             gunicorn.request.status.404:1|c|@1.0"
        );
    }

    #[test]
    fn the_prefix_ends_with_one_dot_and_tags_follow_every_number() {
        let (socket, place) = server();
        for (prefix, before) in [("shop", "shop."), ("shop.", "shop."), ("a.b..", "a.b.")] {
            let statsd = Statsd::new(place.clone(), prefix, "env:prod,team:web").unwrap();
            statsd.send("gunicorn.workers", 3, Metric::Gauge);
            let expected = format!("{before}gunicorn.workers:3|g|#env:prod,team:web");
            assert_eq!(received(&socket), expected);
        }
    }

    #[test]
    fn no_datagram_is_longer_than_a_frame_and_none_ends_inside_a_line() {
        let (socket, place) = server();
        let statsd = Statsd::new(place, "", "").unwrap();
        for _ in 0..100 {
            statsd.request(Duration::from_millis(1), 200);
        }
        statsd.flush();
        let mut lines = 0;
        while lines < 300 {
            let packet = received(&socket);
            assert!(packet.len() <= PACKET, "{}", packet.len());
            lines += packet.lines().count();
            for line in packet.lines() {
                let whole = line.ends_with("|ms") || line.ends_with("|c|@1.0");
                assert!(whole && line.starts_with("gunicorn.request"), "{line}");
            }
        }
        assert_eq!(lines, 300);
    }

    #[test]
    fn a_server_that_comes_later_gets_what_comes_later() {
        let folder = std::env::temp_dir().join(format!("oxicorn-statsd-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        let statsd = Statsd::new(StatsdPlace::Unix(path.clone()), "", "").unwrap();
        statsd.send("early", 1, Metric::Counter);
        assert_eq!(statsd.lost(), 1);
        let socket = UnixDatagram::bind(&path).unwrap();
        statsd.send("late", 1.5, Metric::Histogram);
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"late:1.5|h");
        drop(socket);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

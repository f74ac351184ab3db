//! Speaking to a service manager: the datagrams of `sd_notify(3)`, and the watchdog's pings.
//!
//! Not for what is said, or when: that is the core's (`core/service.rs`). Nothing here blocks and
//! nothing here fails the server: a manager that does not listen is no reason not to serve.
//!
//! Invariant: messages arrive in order. One that the manager's queue has no room for is kept, and
//! everything said after it waits behind it; what it does not take for ten seconds is dropped.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, sendmsg_addr, sendto, socket_with,
};
use rustix::time::{ClockId, clock_gettime};

use crate::core::ledger::{Damaged, Entries, Ledger, Word, Words};
use crate::core::{News, Pid};
use crate::sockets::Listener;
use crate::translate::TARGET;

/// How long to wait for room in the manager's queue before the next try.
const PAUSE: Duration = Duration::from_millis(100);
/// So many tries in vain, and what was to be said is dropped.
const TRIES: u32 = 100;

/// What the service manager asked for in the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotifyOptions {
    /// `NOTIFY_SOCKET`: a path, or `@` and an abstract name.
    socket: Option<String>,
    /// `WATCHDOG_USEC`: how long it waits for a sign of life.
    watchdog: Option<Duration>,
    /// `FDSTORE`: whether it keeps descriptors.
    stores: bool,
}

impl NotifyOptions {
    /// The variables that are read here. They are the caller's to remove from the environment, so
    /// that no worker speaks for the server.
    pub const VARIABLES: [&str; 4] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "FDSTORE"];

    /// Reads the variables through `read`. A watchdog for another process than `own` is none.
    pub fn from_environment(read: impl Fn(&str) -> Option<String>, own: Pid) -> Self {
        let number = |name: &str| read(name)?.parse::<u64>().ok();
        let ours = read("WATCHDOG_PID").is_none_or(|pid| pid.parse() == Ok(own));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0);
        Self {
            socket: read("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()),
            watchdog: watchdog.map(Duration::from_micros),
            stores: number("FDSTORE").is_some_and(|most| most > 0),
        }
    }
}

/// The arbiter's line to the service manager; without one, silence.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    line: Option<Line>,
    stores: bool,
    unsent: VecDeque<String>,
    tries: u32,
    retry_at: Option<Duration>,
    /// Half the time after which the manager loses patience.
    period: Option<Duration>,
    ping_at: Duration,
}

#[derive(Debug)]
struct Line {
    socket: OwnedFd,
    manager: SocketAddrUnix,
}

impl Line {
    fn to(manager: &str) -> rustix::io::Result<Self> {
        let manager = match manager.strip_prefix('@') {
            Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes())?,
            None if manager.starts_with('/') => SocketAddrUnix::new(manager)?,
            None => return Err(Errno::AFNOSUPPORT),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        Ok(Self { socket, manager })
    }

    /// With a descriptor, of which the manager gets its own.
    fn send_with(&self, message: &str, fd: BorrowedFd<'_>) -> rustix::io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let one = [fd];
        if !control.push(SendAncillaryMessage::ScmRights(&one)) {
            return Err(Errno::NOBUFS);
        }
        let bytes = [IoSlice::new(message.as_bytes())];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        loop {
            match sendmsg_addr(&self.socket, &self.manager, &bytes, &mut control, flags) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn send(&self, message: &str) -> rustix::io::Result<()> {
        let bytes = message.as_bytes();
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        loop {
            match sendto(&self.socket, bytes, flags, &self.manager) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Notifier {
    pub(crate) fn new(options: &NotifyOptions) -> Self {
        let Some(socket) = &options.socket else {
            return Self::default();
        };
        match Line::to(socket) {
            Ok(line) => Self {
                line: Some(line),
                stores: options.stores,
                period: options.watchdog.map(|limit| limit / 2),
                ..Self::default()
            },
            Err(error) => {
                log::warn!(target: TARGET, "The service manager at {socket} is not told: {error}");
                Self::default()
            }
        }
    }

    /// Writes down for the next version of the arbiter what the manager has not yet been told.
    pub(crate) fn write(&self, ledger: &mut Ledger) {
        for message in &self.unsent {
            ledger.put("unsent", [message.write()]);
        }
    }

    /// Goes on where an earlier version stopped.
    pub(crate) fn read(options: &NotifyOptions, entries: &Entries<'_>) -> Result<Self, Damaged> {
        let mut notifier = Self::new(options);
        if notifier.line.is_some() {
            notifier.unsent = entries.all("unsent", Words::take)?.into();
            notifier.retry_at = (!notifier.unsent.is_empty()).then_some(Duration::ZERO);
        }
        Ok(notifier)
    }

    /// A sign of life, whether or not it is time for one.
    pub(crate) fn ping(&mut self, now: Duration) {
        self.ping_at = now;
        self.keep_up(now);
    }

    /// How long there may be no sign of life, at most; with a margin.
    pub(crate) const fn patience(&self) -> Option<Duration> {
        self.period
    }

    /// Lets the manager keep the listeners that have a name. One that it does not get is lost with
    /// this process, as without a store.
    pub(crate) fn store(&self, names: &[Option<String>], listeners: &[Listener]) {
        let Some(line) = self.line.as_ref().filter(|_| self.stores) else {
            return;
        };
        for (name, listener) in names.iter().zip(listeners) {
            let message = name
                .as_ref()
                .map(|name| format!("FDSTORE=1\nFDNAME={name}"));
            let sent = message.map(|message| line.send_with(&message, listener.as_fd()));
            if let Some(Err(error)) = sent {
                log::warn!(target: TARGET, "{} could not be stored: {error}", listener.local);
            }
        }
    }

    /// Has the manager close what it keeps under these names.
    pub(crate) fn forget(&mut self, names: Vec<String>) {
        if self.line.is_some() {
            let messages = names
                .into_iter()
                .map(|name| format!("FDSTOREREMOVE=1\nFDNAME={name}"));
            self.unsent.extend(messages);
            self.send(Duration::ZERO);
        }
    }

    /// Says it now, or as soon as the manager has room for it.
    pub(crate) fn tell(&mut self, news: News, status: &str, own: Pid, now: Duration) {
        if self.line.is_some() {
            self.unsent.push_back(message(news, status, own));
            self.send(now);
        }
    }

    /// When [`keep_up`](Self::keep_up) has something to do; `None` without a watchdog, or a manager.
    pub(crate) fn due(&self) -> Option<Duration> {
        let ping_at = self.period.map(|_| self.ping_at);
        ping_at.into_iter().chain(self.retry_at).min()
    }

    /// A sign of life if it is time for one, and what could not be said before.
    pub(crate) fn keep_up(&mut self, now: Duration) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.send(now);
        }
        let Some(period) = self.period.filter(|_| self.ping_at <= now) else {
            return;
        };
        self.ping_at = now.saturating_add(period);
        // A ping that waits behind others need not be said twice.
        if self.unsent.is_empty() {
            self.unsent.push_back("WATCHDOG=1".to_owned());
            self.send(now);
        }
    }

    fn send(&mut self, now: Duration) {
        let Some(line) = &self.line else {
            return;
        };
        while let Some(message) = self.unsent.front() {
            match line.send(message) {
                Ok(()) => drop(self.unsent.pop_front()),
                Err(Errno::AGAIN | Errno::NOBUFS) if self.tries < TRIES => {
                    self.tries += 1;
                    self.retry_at = Some(now.saturating_add(PAUSE));
                    return;
                }
                Err(error) => {
                    log::warn!(target: TARGET, "The service manager cannot be told: {error}");
                    self.unsent.clear();
                }
            }
            self.tries = 0;
        }
        self.retry_at = None;
    }
}

/// The main process is named with *ready*: a wrapper may have been what the manager started.
fn message(news: News, status: &str, own: Pid) -> String {
    let state = match news {
        News::Ready => format!("READY=1\nMAINPID={own}\n"),
        News::Reloading => format!("RELOADING=1\nMONOTONIC_USEC={}\n", monotonic_usec()),
        News::Stopping => "STOPPING=1\n".to_owned(),
        News::Succeeded(pid) => format!("MAINPID={pid}\n"),
        News::Status => String::new(),
    };
    format!("{state}STATUS={}", one_line(status))
}

/// A line feed would begin another variable.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn monotonic_usec() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    use crate::scratch::Scratch;

    const MS: Duration = Duration::from_millis(1);

    fn options(variables: &[(&str, &str)]) -> NotifyOptions {
        let read = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        NotifyOptions::from_environment(read, 42)
    }

    /// A manager that listens, and the line to it.
    fn manager(scratch: &Scratch, watchdog: &str) -> (UnixDatagram, Notifier) {
        let path = scratch.folder().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let socket = path.to_str().unwrap();
        let variables = [("NOTIFY_SOCKET", socket), ("WATCHDOG_USEC", watchdog)];
        (manager, Notifier::new(&options(&variables)))
    }

    fn heard(manager: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    #[test]
    fn a_watchdog_for_another_process_is_none() {
        let watchdog =
            |pid| options(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", pid)]).watchdog;
        assert_eq!(watchdog("42"), Some(Duration::from_secs(30)));
        assert_eq!(watchdog("41"), None);
        assert_eq!(watchdog("x"), None);
        let anybody = options(&[("WATCHDOG_USEC", "1000")]).watchdog;
        assert_eq!(anybody, Some(MS));
        assert_eq!(options(&[("WATCHDOG_USEC", "0")]).watchdog, None);
        assert_eq!(options(&[("WATCHDOG_USEC", "-1")]).watchdog, None);
    }

    #[test]
    fn without_a_manager_nothing_is_due() {
        let mut nobody = Notifier::new(&options(&[("WATCHDOG_USEC", "1000")]));
        nobody.tell(News::Ready, "text", 42, MS);
        assert_eq!(nobody.due(), None);
    }

    #[test]
    fn a_socket_that_is_no_unix_socket_is_no_reason_to_fail() {
        for socket in ["vsock:2:1234", "relative", "/nowhere/at/all"] {
            let mut nobody = Notifier::new(&options(&[("NOTIFY_SOCKET", socket)]));
            nobody.tell(News::Ready, "text", 42, MS);
            assert_eq!(nobody.due(), None, "{socket}");
        }
    }

    #[test]
    fn each_news_is_one_datagram_with_its_text_on_one_line() {
        let scratch = Scratch::new("notify-news");
        let (manager, mut notifier) = manager(&scratch, "0");
        notifier.tell(News::Ready, "one\nFDSTORE=1", 42, MS);
        notifier.tell(News::Status, "two", 42, MS);
        notifier.tell(News::Stopping, "three", 42, MS);
        let ready = "READY=1\nMAINPID=42\nSTATUS=one FDSTORE=1";
        assert_eq!(heard(&manager).as_deref(), Some(ready));
        assert_eq!(heard(&manager).as_deref(), Some("STATUS=two"));
        assert_eq!(heard(&manager).as_deref(), Some("STOPPING=1\nSTATUS=three"));
        assert_eq!(notifier.due(), None);
    }

    #[test]
    fn reloading_carries_the_time_of_the_monotonic_clock() {
        let scratch = Scratch::new("notify-reloading");
        let (manager, mut notifier) = manager(&scratch, "0");
        let before = monotonic_usec();
        notifier.tell(News::Reloading, "text", 42, MS);
        let said = heard(&manager).unwrap();
        let usec = said.lines().nth(1).unwrap();
        let usec: i64 = usec
            .strip_prefix("MONOTONIC_USEC=")
            .unwrap()
            .parse()
            .unwrap();
        assert!(before <= usec && usec <= monotonic_usec());
    }

    #[test]
    fn the_watchdog_gets_a_sign_of_life_at_half_its_time() {
        let scratch = Scratch::new("notify-watchdog");
        let (manager, mut notifier) = manager(&scratch, "20000");
        assert_eq!(notifier.due(), Some(Duration::ZERO));
        notifier.keep_up(3 * MS);
        assert_eq!(heard(&manager).as_deref(), Some("WATCHDOG=1"));
        assert_eq!(notifier.due(), Some(13 * MS));
        notifier.keep_up(12 * MS);
        assert_eq!(heard(&manager), None);
        notifier.keep_up(13 * MS);
        assert_eq!(heard(&manager).as_deref(), Some("WATCHDOG=1"));
    }

    #[test]
    fn an_abstract_socket_is_reached_as_well() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("oxicorn-test-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let mut notifier = Notifier::new(&options(&[("NOTIFY_SOCKET", &format!("@{name}"))]));
        notifier.tell(News::Status, "text", 42, MS);
        assert_eq!(heard(&manager).as_deref(), Some("STATUS=text"));
    }

    /// Fills the manager's queue; how many messages it took.
    fn fill(notifier: &mut Notifier) -> usize {
        let full = |notifier: &Notifier| notifier.retry_at.is_some();
        let mut told = 0;
        while !full(notifier) {
            notifier.tell(News::Status, &format!("{told}"), 42, MS);
            told += 1;
        }
        told
    }

    #[test]
    fn what_the_manager_has_no_room_for_is_said_later_and_in_order() {
        let scratch = Scratch::new("notify-room");
        let (manager, mut notifier) = manager(&scratch, "0");
        let told = fill(&mut notifier);
        notifier.tell(News::Ready, "last", 42, MS);
        assert_eq!(notifier.due(), Some(MS + PAUSE));
        let mut said: Vec<String> = std::iter::from_fn(|| heard(&manager)).collect();
        notifier.keep_up(MS + PAUSE);
        said.extend(std::iter::from_fn(|| heard(&manager)));
        let expected = (0..told).map(|n| format!("STATUS={n}"));
        let last = "READY=1\nMAINPID=42\nSTATUS=last".to_owned();
        assert_eq!(said, expected.chain([last]).collect::<Vec<_>>());
        assert_eq!(notifier.due(), None);
    }

    #[test]
    fn a_manager_that_never_reads_is_given_up_and_costs_nothing_then() {
        let scratch = Scratch::new("notify-never-reads");
        let (_manager, mut notifier) = manager(&scratch, "0");
        fill(&mut notifier);
        for _ in 0..=TRIES {
            let due = notifier.due().unwrap_or_default();
            notifier.keep_up(due);
        }
        assert_eq!(notifier.due(), None);
        assert!(notifier.unsent.is_empty());
    }
}

//! Where log lines go: standard output, standard error, a file, or a descriptor of the caller's.
//!
//! For: getting whole lines out and surviving everything the far end may do. Not for: formatting,
//! buffering, or telling anybody what went wrong; the two logs do that with the [`Delivery`].
//!
//! Invariants:
//! - No lock is held during a write, so neither a slow reader nor a fork can block another thread.
//! - After a line was cut off half-way, the next one begins on a line of its own.
//! - A sink that takes nothing is waited for once, for [`PATIENCE`]; until it works again its lines
//!   are counted as lost without waiting.
//! - The process ignores SIGPIPE, as Rust's and Python's runtimes both arrange.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;

use self::put::Kind;
use crate::error_log;
use crate::losses::{Delivery, Losses};

/// How long a full sink is waited for before its lines are given up.
const PATIENCE: Duration = Duration::from_secs(1);

/// For what is not a regular file.
const NONBLOCK: i32 = OFlags::NONBLOCK.bits().cast_signed();

/// Every sink that [`reopen_all`] reaches.
static SINKS: Mutex<Vec<Weak<Sink>>> = Mutex::new(Vec::new());

/// One of the process's standard streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    /// Descriptor 1.
    Output,
    /// Descriptor 2.
    Error,
}

/// A destination for log lines, shared by all threads.
#[derive(Debug)]
pub struct Sink {
    target: Target,
    patience: Duration,
    losses: Losses,
    torn: AtomicBool,
}

#[derive(Debug)]
enum Target {
    Standard(Standard),
    File {
        path: PathBuf,
        file: RwLock<Arc<OwnedFd>>,
    },
    Given {
        name: String,
        fd: OwnedFd,
    },
}

impl Sink {
    /// What a setting names: `-` is `dash`, `/dev/stdout` and `/dev/stderr` are the standard
    /// streams, everything else is the path of a file (see [`Self::open`]).
    ///
    /// The two device names are not opened, since that fails where the stream belongs to another
    /// user, as it does in containers after privileges were dropped.
    pub fn from_setting(text: &str, dash: Standard) -> io::Result<Arc<Self>> {
        match text {
            "-" => Ok(Self::standard(dash)),
            "/dev/stdout" => Ok(Self::standard(Standard::Output)),
            "/dev/stderr" => Ok(Self::standard(Standard::Error)),
            path => Self::open(Path::new(path)),
        }
    }

    /// A standard stream, whatever its descriptor refers to at the time of a write.
    #[must_use]
    pub fn standard(stream: Standard) -> Arc<Self> {
        Arc::new(Self::new(Target::Standard(stream)))
    }

    /// Appends to the file at `path`, which is made with mode 0644 less the umask if there is none.
    ///
    /// A relative path is taken from the present working directory, also by later reopenings. The
    /// errors are those of `open(2)`; they do not name the path.
    pub fn open(path: &Path) -> io::Result<Arc<Self>> {
        let path = std::path::absolute(path)?;
        let file = RwLock::new(Arc::new(append_to(&path)?));
        let sink = Arc::new(Self::new(Target::File { path, file }));
        let mut sinks = SINKS.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.retain(|sink| sink.strong_count() > 0);
        sinks.push(Arc::downgrade(&sink));
        Ok(sink)
    }

    /// A descriptor that somebody else opened, called `name` in reports.
    #[must_use]
    pub fn from_fd(fd: OwnedFd, name: &str) -> Arc<Self> {
        Arc::new(Self::new(Target::Given {
            name: name.to_owned(),
            fd,
        }))
    }

    fn new(target: Target) -> Self {
        Self {
            target,
            patience: PATIENCE,
            losses: Losses::default(),
            torn: AtomicBool::new(false),
        }
    }

    /// What to call the sink in a message: its path, `standard output` or `standard error`.
    pub fn name(&self) -> String {
        match &self.target {
            Target::Standard(Standard::Output) => "standard output".to_owned(),
            Target::Standard(Standard::Error) => "standard error".to_owned(),
            Target::File { path, .. } => path.display().to_string(),
            Target::Given { name, .. } => name.clone(),
        }
    }

    /// How many lines this sink has lost in its life.
    pub fn lost(&self) -> u64 {
        self.losses.total()
    }

    /// Writes `bytes`, one or more whole lines, with one system call if the system takes them.
    pub fn write_all(&self, bytes: &[u8]) -> Delivery {
        self.deliver(bytes, |_| usize::MAX)
    }

    /// Writes `lines`, each ended by `\n`, such that no write ends inside a line and lines of other
    /// processes cannot come in between: to a pipe in pieces that it keeps whole, else at once.
    ///
    /// A single line beyond what a pipe keeps whole (4,096 bytes on Linux) is written all the same.
    pub fn write_lines(&self, lines: &[u8]) -> Delivery {
        self.deliver(lines, Kind::atomic_write)
    }

    /// Goes on in the file that is at the path now, after the old one was renamed.
    ///
    /// The new file is opened first: after an error the old one stays in use. Other sinks than
    /// files have nothing to reopen.
    pub fn reopen(&self) -> io::Result<()> {
        let Target::File { path, file } = &self.target else {
            return Ok(());
        };
        let new = Arc::new(append_to(path)?);
        *file.write().unwrap_or_else(PoisonError::into_inner) = new;
        self.torn.store(false, Relaxed);
        Ok(())
    }

    /// Gives the file to the user and group that the workers run as, so that they can reopen it.
    /// Other sinks than files are left alone.
    pub fn give_to(&self, user: u32, group: u32) -> io::Result<()> {
        match &self.target {
            Target::File { .. } => self
                .target
                .with_fd(|fd| std::os::unix::fs::fchown(fd, Some(user), Some(group))),
            Target::Standard(_) | Target::Given { .. } => Ok(()),
        }
    }

    fn deliver(&self, bytes: &[u8], piece: impl Fn(Kind) -> usize) -> Delivery {
        let written = self.target.with_fd(|fd| {
            let kind = Kind::of(fd);
            self.push(&Way { fd, kind }, bytes, piece(kind))
        });
        match written {
            Ok(()) => self.losses.succeeded(),
            Err(Stopped { at, cause }) => self.failed(bytes, at, cause),
        }
    }

    fn failed(&self, bytes: &[u8], at: usize, cause: Errno) -> Delivery {
        if at > 0 {
            self.torn.store(bytes[at - 1] != b'\n', Relaxed);
        }
        self.losses.failed(lines_in(&bytes[at..]), cause)
    }

    fn patience(&self) -> Duration {
        if self.losses.go_on() {
            Duration::ZERO
        } else {
            self.patience
        }
    }

    fn push(&self, way: &Way<'_>, bytes: &[u8], piece: usize) -> Result<(), Stopped> {
        let deadline = Deadline::new(self.patience());
        if self.torn.load(Relaxed) {
            push_all(way, b"\n", &deadline).map_err(|stopped| Stopped { at: 0, ..stopped })?;
            self.torn.store(false, Relaxed);
        }
        let mut at = 0;
        while at < bytes.len() {
            let end = at + piece_of(&bytes[at..], piece);
            push_all(way, &bytes[at..end], &deadline).map_err(|stopped| Stopped {
                at: at + stopped.at,
                ..stopped
            })?;
            at = end;
        }
        Ok(())
    }
}

impl Target {
    /// Lends the descriptor. A file stays open for as long as it is lent, also while another
    /// thread reopens it.
    fn with_fd<T>(&self, use_fd: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        match self {
            Self::Standard(Standard::Output) => use_fd(io::stdout().as_fd()),
            Self::Standard(Standard::Error) => use_fd(io::stderr().as_fd()),
            Self::Given { fd, .. } => use_fd(fd.as_fd()),
            Self::File { file, .. } => {
                let file = file.read().unwrap_or_else(PoisonError::into_inner).clone();
                use_fd(file.as_fd())
            }
        }
    }
}

/// Reopens every file sink of the process, as USR1 asks after a rotation. What cannot be reopened
/// keeps its old file; the error log says so. Not for use inside a signal handler.
pub fn reopen_all() {
    let sinks = SINKS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for sink in sinks.iter().filter_map(Weak::upgrade) {
        if let Err(error) = sink.reopen() {
            error_log::complain_about(
                &sink,
                format_args!(
                    "cannot reopen the log file {}: {error}; the old one stays in use",
                    sink.name()
                ),
            );
        }
    }
}

/// A named pipe that nobody reads yet is opened all the same, and keeps what comes first: its reader may come later.
fn append_to(path: &Path) -> io::Result<OwnedFd> {
    let mut how = OpenOptions::new();
    how.append(true)
        .create(true)
        .mode(0o644)
        .custom_flags(NONBLOCK);
    let opened = match how.open(path) {
        Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
            how.read(true).open(path)
        }
        opened => opened,
    };
    opened.map(OwnedFd::from)
}

/// How much of `lines` to write at once: as many whole lines as `limit` holds, at least one.
fn piece_of(lines: &[u8], limit: usize) -> usize {
    if lines.len() <= limit {
        return lines.len();
    }
    let end_of = |newline: usize| newline + 1;
    let within = lines[..limit]
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map(end_of);
    let first = || lines.iter().position(|&byte| byte == b'\n').map(end_of);
    within.or_else(first).unwrap_or(lines.len())
}

/// The lines in what was not written; a last one without its `\n` counts too.
fn lines_in(bytes: &[u8]) -> u64 {
    bytes.split_inclusive(|&byte| byte == b'\n').count() as u64
}

/// Where bytes go now.
struct Way<'a> {
    fd: BorrowedFd<'a>,
    kind: Kind,
}

/// Why and after how many bytes a write stopped.
struct Stopped {
    at: usize,
    cause: Errno,
}

/// The end of the patience with a full sink. The clock is read only once the sink was found full.
struct Deadline {
    patience: Duration,
    end: std::cell::OnceCell<Instant>,
}

impl Deadline {
    const fn new(patience: Duration) -> Self {
        Self {
            patience,
            end: std::cell::OnceCell::new(),
        }
    }

    fn remaining(&self) -> Duration {
        let end = self.end.get_or_init(|| Instant::now() + self.patience);
        end.saturating_duration_since(Instant::now())
    }
}

fn push_all(way: &Way<'_>, bytes: &[u8], deadline: &Deadline) -> Result<(), Stopped> {
    let mut at = 0;
    while at < bytes.len() {
        match way.kind.put(way.fd, &bytes[at..]) {
            Ok(0) => {
                return Err(Stopped {
                    at,
                    cause: Errno::IO,
                });
            }
            Ok(taken) => at += taken,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if wait_writable(way.fd, deadline) => {}
            Err(cause) => return Err(Stopped { at, cause }),
        }
    }
    Ok(())
}

/// Waits until `fd` can take bytes (or has an error for the next write to find); false when the
/// patience is over.
fn wait_writable(fd: BorrowedFd<'_>, deadline: &Deadline) -> bool {
    loop {
        let remaining = deadline.remaining();
        let timeout = Timespec::try_from(remaining).unwrap_or_default();
        let mut interest = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
        match rustix::event::poll(&mut interest, Some(&timeout)) {
            Ok(0) if remaining.is_zero() => return false,
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
}

mod put;

#[cfg(test)]
mod tests;

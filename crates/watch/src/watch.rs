//! One descriptor that is readable when the files may have changed, and calm has returned since: whoever writes several files
//! has done half of it in between. The directories are watched rather than the files, since a new file, or a new symbolic
//! link, is often put in the place of the old one. Invariant: nothing wakes up while nothing happens to those directories, and
//! whoever never stops writing into one of them delays nothing for long. A directory that goes and comes back is found again.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::{Errno, read};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// How many times as long as calm it may take to return.
const PATIENCE: u32 = 10;

/// How often a directory that keeps coming and going is looked for at once.
const TRIES: usize = 16;

/// Symbolic links that are followed from one file at the most.
const LINKS: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct Watch {
    /// Readable when one of the other two is.
    both: OwnedFd,
    changes: OwnedFd,
    timer: OwnedFd,
    /// How long nothing may happen before the files are looked at.
    calm: Duration,
    /// Since when calm is waited for.
    since: Cell<Option<Instant>>,
    /// The names that count in any of the directories.
    names: BTreeSet<OsString>,
    /// Of the other files of these directories something is to be known as well.
    whole: BTreeSet<i32>,
    /// What is followed, in case that a directory on the way to it goes and comes back.
    files: BTreeSet<PathBuf>,
    /// The same of directories that are followed with all their files.
    directories: BTreeSet<PathBuf>,
    /// A directory is not where it was.
    astray: bool,
    /// The kernel gives this user no more watches.
    full: Cell<bool>,
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.both.as_fd()
    }
}

impl Watch {
    /// Follows nothing yet; `calm`: how long nothing may happen before the files are to be looked at.
    ///
    /// # Errors
    /// When the system has no descriptor for it.
    pub fn new(calm: Duration) -> io::Result<Self> {
        let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let both = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for fd in [&changes, &timer] {
            epoll::add(
                &both,
                fd,
                epoll::EventData::new_u64(0),
                epoll::EventFlags::IN,
            )?;
        }
        // Zero would disarm the timer.
        let calm = calm.max(Duration::from_millis(1));
        Ok(Self {
            both,
            changes,
            timer,
            calm,
            since: Cell::new(None),
            names: BTreeSet::new(),
            whole: BTreeSet::new(),
            files: BTreeSet::new(),
            directories: BTreeSet::new(),
            astray: false,
            full: Cell::new(false),
        })
    }

    /// Follows `file`, and the symbolic links that lead to it. Whether all of these can be watched; a file that is reached
    /// through no directory is not replaced in one.
    pub fn follow(&mut self, file: &Path) -> bool {
        let mut all = true;
        for place in way_to(file) {
            let (Some(directory), Some(name)) = (place.parent(), place.file_name()) else {
                continue;
            };
            all &= self.attend(directory).is_some();
            self.names.insert(name.to_owned());
        }
        if !self.files.contains(file) {
            self.files.insert(file.to_owned());
        }
        all
    }

    /// Follows all files of `directory`, not of those in it. Whether it can be watched.
    pub fn follow_all_in(&mut self, directory: &Path) -> bool {
        let added = self.attend(directory);
        self.whole.extend(added);
        self.directories.insert(directory.to_owned());
        added.is_some()
    }

    /// Whether something is not followed because the user has as many watches as the kernel allows
    /// (`fs.inotify.max_user_watches`).
    pub fn is_full(&self) -> bool {
        self.full.get()
    }

    /// Watches a directory; if it is not there, the place where its return begins.
    fn attend(&mut self, directory: &Path) -> Option<i32> {
        for _ in 0..TRIES {
            if let Ok(number) = self.add(directory) {
                return Some(number);
            }
            self.astray = true;
            if self
                .await_return(directory)
                .is_none_or(|part| !part.exists())
            {
                break;
            }
            // It came while that was said.
        }
        None
    }

    /// The part of the path that has to appear first.
    fn await_return<'a>(&mut self, directory: &'a Path) -> Option<&'a Path> {
        let mut missing = directory;
        while let (Some(above), Some(name)) = (missing.parent(), missing.file_name()) {
            if self.add(above).is_ok() {
                self.names.insert(name.to_owned());
                return Some(missing);
            }
            missing = above;
        }
        None
    }

    /// Follows everything to where it is now.
    fn follow_anew(&mut self) {
        self.astray = false;
        for file in self.files.clone() {
            self.follow(&file);
        }
        for directory in self.directories.clone() {
            self.follow_all_in(&directory);
        }
    }

    /// A directory that is watched has one number.
    fn add(&self, directory: &Path) -> io::Result<i32> {
        let added = inotify::add_watch(&self.changes, or_here(directory), flags_of_interest());
        if added == Err(Errno::NOSPC) {
            self.full.set(true);
        }
        Ok(added?)
    }

    /// Takes notice of what has happened. Whether the files are to be looked at now.
    pub fn is_due(&mut self) -> bool {
        if self.drain() && !self.is_overdue() {
            self.arm();
            return false;
        }
        let due = read(&self.timer, &mut [0u8; 8]).is_ok();
        if due {
            self.since.set(None);
            // Before anybody looks at the files, so that no change falls between the two.
            if self.astray {
                self.follow_anew();
            }
        }
        due
    }

    /// Calm has not returned for too long.
    fn is_overdue(&self) -> bool {
        let since = self.since.get();
        since.is_some_and(|since| since.elapsed() > self.calm * PATIENCE)
    }

    /// Whether anything has happened that counts.
    fn drain(&mut self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.changes, &mut buffer);
        let mut counts = false;
        loop {
            match reader.next() {
                Ok(event) => {
                    self.astray |= event.events().intersects(departures());
                    let name = event.file_name().map(CStr::to_bytes);
                    // Without a name it is the directory itself, or that events were lost.
                    counts |= self.whole.contains(&event.wd())
                        || name.is_none_or(|name| self.is_known(name));
                }
                Err(Errno::INTR) => {}
                Err(_) => return counts,
            }
        }
    }

    fn is_known(&self, name: &[u8]) -> bool {
        self.names.contains(OsStr::from_bytes(name))
    }

    /// The files are to be looked at, if nothing happens for a moment: what is followed from now on may have changed before.
    pub fn arm(&self) {
        let since = self.since.get().unwrap_or_else(Instant::now);
        self.since.set(Some(since));
        let at = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec::try_from(self.calm).unwrap_or_default(),
        };
        if let Err(error) = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &at) {
            log::error!(target: "oxicorn", "Changes of files cannot be waited for: {error}");
        }
    }
}

/// A directory is gone, or has another name.
fn departures() -> ReadFlags {
    ReadFlags::IGNORED | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT
}

fn flags_of_interest() -> WatchFlags {
    WatchFlags::CREATE
        | WatchFlags::MOVED_TO
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::DELETE
        | WatchFlags::ATTRIB
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR
}

/// The symbolic links on the way to a file, wherever in its path they are, and the file.
fn way_to(file: &Path) -> Vec<PathBuf> {
    let (mut way, mut path) = (Vec::new(), file.to_owned());
    while way.len() < LINKS {
        let Some((link, target)) = first_link(&path) else {
            break;
        };
        let rest = path.strip_prefix(&link).map(Path::to_owned);
        path = link.parent().unwrap_or(Path::new("")).join(target);
        if let Some(rest) = rest.ok().filter(|rest| !rest.as_os_str().is_empty()) {
            path.push(rest);
        }
        way.push(link);
    }
    way.push(path);
    way
}

/// The first part of a path that is a symbolic link, and where that leads.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut parts: Vec<&Path> = path.ancestors().collect();
    parts.reverse();
    let mut links = parts
        .into_iter()
        .map(|part| (part, std::fs::read_link(part)));
    let (link, target) = links.find(|(_, target)| target.is_ok())?;
    Some((link.to_owned(), target.ok()?))
}

fn or_here(directory: &Path) -> &Path {
    if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    }
}

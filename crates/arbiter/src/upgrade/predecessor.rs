//! What a program finds that begins in the place of another version's arbiter.
//!
//! It works on duplicates of the descriptors; the ones that it was given stay as they are until it
//! has confirmed ([`Predecessor::confirm`]), so that the former version finds everything in its
//! place if it has to come back. What brings it back is armed as the very first thing
//! ([`Beginning::of`]).
//!
//! Invariant: before the confirmation no descriptor that was given is closed, and nothing is read
//! from one.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{getpid, getppid};

use super::check::ANSWER;
use super::kept::{Kept, Way};
use super::order::Order;
use super::state::{MOST_BYTES, entries};
use crate::core::ledger::{Damaged, Entries, Words};
use crate::core::{Pid, State, signal_name};
use crate::sys::image::{Image, set_inherited};
use crate::sys::way_back::{self, Cause};
use crate::sys::{descriptors, signals};
use crate::{channel, stem};

/// How a program begins.
#[derive(Debug)]
pub enum Beginning {
    /// As any server does.
    Start,
    /// To check the state on standard input, with [`check`] and [`answer_check`], and to end.
    Check,
    /// In the place of an arbiter: [`Arbiter::resume`](crate::Arbiter::resume).
    Resume(Predecessor),
}

/// The state of an arbiter in whose place this program began.
#[derive(Debug)]
pub struct Predecessor {
    /// The whole text.
    text: String,
    /// What the descriptors' numbers are: the state's and those in it.
    given: Vec<RawFd>,
    /// This is the former version, and why it came back.
    undone: Option<String>,
}

/// How this program can be left for the former version; `None` once it has confirmed, or if it is
/// the former one.
static RETREAT: Mutex<Option<Retreat>> = Mutex::new(None);

/// What it takes to go back.
#[derive(Debug)]
struct Retreat {
    way: Way,
    directory: PathBuf,
    /// As it was at the beginning: what this program makes of it is not the former one's.
    environment: Vec<OsString>,
    state: RawFd,
    given: Vec<RawFd>,
    /// The process that may.
    owner: Pid,
}

impl Beginning {
    /// The name of the variable that says it. It is the caller's to remove from the environment.
    pub const VARIABLE: &str = Order::VARIABLE;

    /// What the variable's value means to this process. A program that begins in the place of an
    /// arbiter is put on its guard by this call: whatever ends it from here on, the former version
    /// comes back.
    ///
    /// To be called before anything else, by the only thread.
    ///
    /// # Errors
    /// When there is a state that cannot be read.
    pub fn of(value: Option<&str>) -> Result<Self, String> {
        let own = own_pid();
        let parent = getppid().map(|pid| pid.as_raw_nonzero().get());
        match value.and_then(|value| Order::read(value, own, parent)) {
            None => Ok(Self::Start),
            Some(Order::Check) => Ok(Self::Check),
            Some(Order::Take(state)) => take(state, own).map(Self::Resume),
            Some(Order::Back(state, reason)) => {
                way_back::stop_timer().map_err(|error| error.to_string())?;
                let undone = Some(reason);
                Ok(Self::Resume(Predecessor::open(state, undone)?))
            }
        }
    }
}

fn take(state: RawFd, own: Pid) -> Result<Predecessor, String> {
    let found = Predecessor::open(state, None)?;
    let entries = found.entries()?;
    let way = Way::read(&entries).map_err(|damaged| damaged.to_string())?;
    let directory: PathBuf = entries
        .one("directory", Words::take)
        .map_err(|damaged| damaged.to_string())?;
    let given = found.given.clone();
    let others = env::vars_os().filter(|(name, _)| name != Order::VARIABLE);
    let retreat = Retreat {
        way,
        directory,
        environment: others.map(variable).collect(),
        state,
        given,
        owner: own,
    };
    let images = Cause::ALL.map(|cause| retreat.image(&reason_of(cause)));
    images
        .into_iter()
        .collect::<io::Result<_>>()
        .and_then(way_back::arm)
        // The timer may have run out while nobody could heed it.
        .and_then(|()| signals::block_all_but(&[libc::SIGALRM]))
        .map_err(|error| error.to_string())?;
    *lock() = Some(retreat);
    Ok(found)
}

impl Retreat {
    fn image(&self, reason: &str) -> io::Result<Image> {
        let order = Order::Back(self.state, cut(reason)).variable(self.owner);
        let environment = self.environment.iter().chain([&order]);
        let (program, arguments) = (self.way.executable(), self.way.arguments());
        let given = self.given.clone();
        Image::new(&program, arguments, environment, &self.directory, given)
    }
}

/// `NAME=VALUE`.
pub(crate) fn variable((mut name, value): (OsString, OsString)) -> OsString {
    name.push("=");
    name.push(value);
    name
}

fn reason_of(cause: Cause) -> String {
    match cause {
        Cause::Late => "the new version did not take over in time.".to_owned(),
        Cause::Crash(number) => {
            format!(
                "the new version crashed before it took over: {}.",
                signal_name(number)
            )
        }
        Cause::Exit => "the new version ended before it took over; its own words are in the log \
                        or on standard error."
            .to_owned(),
    }
}

/// Goes back to the former version if this one began in its place and has not confirmed. Returns
/// only if there is nothing to go back to.
pub fn undo(reason: &str) {
    let retreat = lock().take_if(|retreat| retreat.owner == own_pid());
    if let Some(retreat) = retreat {
        let image = way_back::stop_timer().and_then(|()| retreat.image(reason));
        let error = image.map_or_else(|error| error, |image| image.enter());
        log::error!(target: "oxicorn", "There is no way back to the former version: {error}");
    }
}

/// Checks a state of another version's, as [`Beginning::Check`] asks for.
///
/// # Errors
/// Why this version cannot go on from it.
pub fn check(state: &mut impl Read) -> Result<(), String> {
    let mut text = String::new();
    state
        .take(MOST_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    let entries = Entries::of(entries(&text)?);
    speak(&entries, "channel-messages", "workers", channel::VERSION)?;
    speak(&entries, "stem-messages", "stems", stem::VERSION)?;
    let complete = Way::read(&entries)
        .and_then(|_| entries.one("directory", Words::take::<PathBuf>))
        .and_then(|_| entries.one("origin", Words::take::<Duration>))
        .and_then(|_| State::read(&entries));
    complete.map(drop).map_err(|damaged| damaged.to_string())
}

/// Processes that go on can be talked to only in the language that they know.
fn speak(entries: &Entries<'_>, entry: &str, who: &str, ours: u8) -> Result<(), String> {
    let theirs: u8 = entries
        .one(entry, Words::take)
        .map_err(|damaged| damaged.to_string())?;
    if theirs == ours {
        return Ok(());
    }
    Err(format!(
        "the {who} speak version {theirs} of the channel's messages, and this version speaks \
         {ours}: stop the server and start it again"
    ))
}

/// What a version prints that has checked a state and can go on from it; then it ends with code 0.
pub fn answer_check(version: &str) -> String {
    format!("{ANSWER}{version}")
}

impl Predecessor {
    fn open(state: RawFd, undone: Option<String>) -> Result<Self, String> {
        let mut file = File::from(duplicate(state)?);
        let mut text = String::new();
        file.rewind()
            .and_then(|()| file.take(MOST_BYTES).read_to_string(&mut text))
            .map_err(|error| format!("the state cannot be read: {error}"))?;
        let mut given = Entries::of(entries(&text)?)
            .all("descriptor", Words::take)
            .map_err(|damaged| damaged.to_string())?;
        given.push(state);
        // No process that this one starts meanwhile may have them.
        set_inherited(&given, false);
        Ok(Self {
            text,
            given,
            undone,
        })
    }

    /// Whether this is the former version, which came back.
    pub const fn is_undone(&self) -> bool {
        self.undone.is_some()
    }

    pub(crate) fn entries(&self) -> Result<Entries<'_>, String> {
        entries(&self.text).map(Entries::of)
    }

    /// What the former version had kept of itself, if this is it.
    pub(crate) fn kept(&self) -> Result<Option<Kept>, String> {
        if self.undone.is_none() {
            return Ok(None);
        }
        Kept::read(&self.entries()?).map(Some)
    }

    /// What the former version's embedder wanted this one's to have.
    pub fn heirloom(&self) -> Option<String> {
        let entries = self.entries().ok()?;
        entries.maybe("heirloom", Words::take).ok().flatten()
    }

    /// This program has taken over: there is no way back, and only the duplicates are left. Why the
    /// new version could not, if this is the former one.
    pub(crate) fn confirm(self) -> io::Result<Option<String>> {
        lock().take();
        way_back::disarm()?;
        for number in &self.given {
            drop(descriptors::adopt(*number));
        }
        Ok(self.undone)
    }
}

impl Words<'_> {
    /// A descriptor of our own for the next word's.
    pub(crate) fn descriptor(&mut self) -> Result<OwnedFd, Damaged> {
        self.maybe_descriptor()?.ok_or_else(|| self.damaged())
    }

    /// The same, unless the word is missing.
    pub(crate) fn maybe_descriptor(&mut self) -> Result<Option<OwnedFd>, Damaged> {
        let number: Option<RawFd> = self.take()?;
        let fd = number.map(descriptors::duplicate).transpose();
        fd.map_err(|_| self.damaged())
    }
}

/// A descriptor of our own for what is open under this number.
pub(crate) fn duplicate(number: RawFd) -> Result<OwnedFd, String> {
    descriptors::duplicate(number).map_err(|error| format!("descriptor {number}: {error}"))
}

fn lock() -> MutexGuard<'static, Option<Retreat>> {
    RETREAT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn own_pid() -> Pid {
    getpid().as_raw_nonzero().get()
}

/// A variable has its limits.
fn cut(reason: &str) -> String {
    const LONGEST: usize = 4000;
    reason.trim().chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Policy;

    fn state() -> String {
        let core = State::new(Policy::default(), Duration::ZERO).to_text();
        format!(
            "oxicorn-state 1\norigin 5\ndirectory =/\nchannel-messages {}\nstem-messages {}\n\
             kept =/bin/sh 3 4 5\n{core}",
            channel::VERSION,
            stem::VERSION
        )
    }

    fn checked(text: &str) -> Result<(), String> {
        check(&mut text.as_bytes())
    }

    #[test]
    fn a_state_of_the_same_kind_passes_the_check() {
        assert_eq!(checked(&state()), Ok(()));
    }

    #[test]
    fn a_state_that_lacks_anything_does_not() {
        for entry in [
            "origin",
            "directory",
            "channel-messages",
            "stem-messages",
            "kept",
            "counters",
        ] {
            let without: Vec<String> = state()
                .lines()
                .filter(|line| !line.starts_with(entry))
                .map(|line| format!("{line}\n"))
                .collect();
            let refusal = checked(&without.concat()).unwrap_err();
            assert!(refusal.contains(entry), "{refusal}");
        }
        assert!(checked("").is_err());
    }

    #[test]
    fn workers_that_speak_otherwise_are_not_taken_over() {
        let ours = format!("channel-messages {}", channel::VERSION);
        let refusal = checked(&state().replace(&ours, "channel-messages 99")).unwrap_err();
        assert!(refusal.contains("speak version 99"), "{refusal}");
    }

    #[test]
    fn a_process_without_the_variable_or_with_anothers_is_a_server_like_any_other() {
        for value in [None, Some(""), Some("take:1:3"), Some("nonsense")] {
            assert!(
                matches!(Beginning::of(value), Ok(Beginning::Start)),
                "{value:?}"
            );
        }
    }
}

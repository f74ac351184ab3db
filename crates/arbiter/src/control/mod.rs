//! The control socket: a Unix socket over which a person or a script asks the arbiter for things,
//! and hears how they ended.
//!
//! # The protocol, version 1
//!
//! One request for each connection: a line of words, at most 256 bytes. The answer is one line of
//! JSON, after which the server closes the connection.
//!
//! ```text
//! oxicorn/1 status                                  what there is: see `answer.rs`
//! oxicorn/1 restart [hot|phased|regular] [wait]     with `wait`, answered when it has ended
//! oxicorn/1 upgrade [wait]                          with `wait`, answered when its restart has ended
//! oxicorn/1 workers N                               1 to 4096
//! oxicorn/1 worker add N                            so many more than there should be when it is asked
//! oxicorn/1 worker remove N                         so many fewer, but at least 1
//! oxicorn/1 worker kill PID                         replaced as after `max_requests`: its successor boots first
//! oxicorn/1 config                                  the settings of the generation that serves
//! oxicorn/1 stop [quick]
//! oxicorn/1 reopen-logs
//! ```
//!
//! Each answer has `"ok"`; with `true` what was asked for is done or begun, with `false` it is not,
//! and `"error"` says why.
//!
//! Not here: what a request does, which is `run.rs`' and the core's.
//!
//! Invariants: nothing blocks; at most [`MOST_CLIENTS`] connections and so many answers are held; a
//! client that stalls or vanishes costs nobody else anything, and its restart goes on. The socket is
//! a convenience: without it the server runs as well.

mod answer;
mod client;
mod counts;
mod json;
mod place;
mod request;

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

pub(crate) use answer::{Picture, configuration, done, ended, refused, resized, status};
use client::{Client, Heard};
pub(crate) use counts::CountsOf;
pub use place::{ControlPlace, ControlSocket};
pub(crate) use request::Request;

use crate::core::ledger::{Damaged, Entries, Ledger, Word};
use crate::core::{Asker, Pid};
use crate::sockets::Listener;
use crate::translate::TARGET;

/// How many clients there may be. Beyond that the oldest one that does not wait for the end of a
/// restart has to go.
const MOST_CLIENTS: usize = 32;
/// How long no client is accepted after the system refused to give a descriptor.
const PAUSE: Duration = Duration::from_secs(1);

/// The control socket and its clients.
#[derive(Debug, Default)]
pub(crate) struct Control {
    listener: Option<Listener>,
    /// Whether the file's mode decides who may ask; otherwise only our own user and root may.
    open_to_others: bool,
    clients: BTreeMap<Asker, Client>,
    last: Asker,
    asked: VecDeque<(Asker, Request)>,
    paused_until: Option<Instant>,
}

impl Control {
    /// Opens the socket, if it can be opened.
    pub(crate) fn open(socket: &ControlSocket, pid: Pid) -> Self {
        Self {
            listener: place::bind(socket, pid),
            open_to_others: socket.mode & 0o022 != 0,
            ..Self::default()
        }
    }

    /// Writes it down for the next version of the arbiter, with everybody who waits.
    pub(crate) fn write(&self, ledger: &mut Ledger) {
        if let Some(listener) = &self.listener {
            listener.write("control", ledger);
        }
        let open = self.open_to_others.write();
        ledger.put("control-clients", [open, self.last.write()]);
        for (asker, client) in &self.clients {
            client.write(*asker, ledger);
        }
    }

    /// Goes on where an earlier version stopped.
    pub(crate) fn read(entries: &Entries<'_>) -> Result<Self, Damaged> {
        let clients = entries.all("control-client", Client::read)?;
        let (open_to_others, last) = entries.one("control-clients", |words| {
            Ok((words.take()?, words.take()?))
        })?;
        Ok(Self {
            listener: entries.maybe("control", Listener::read)?,
            open_to_others,
            clients: clients.into_iter().collect(),
            last,
            ..Self::default()
        })
    }

    /// What to wait for, with what was waited for given back to [`turn`](Self::turn).
    pub(crate) fn interests(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let resting = self.paused_until.is_some();
        let listener = self.listener.iter().filter(|_| !resting);
        listener
            .map(|one| (Source::Listener, one.as_fd(), PollFlags::IN))
            .chain(self.clients.iter().map(|(asker, client)| {
                let source = Source::Client(*asker);
                (source, client.as_fd(), client.interest())
            }))
            .collect()
    }

    /// How long to wait at most.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let until = self.paused_until?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// Looks after everybody who has something to say or can be told something.
    pub(crate) fn turn(&mut self, ready: &[Source]) {
        if self.patience() == Some(Duration::ZERO) {
            self.paused_until = None;
        }
        for source in ready {
            match source {
                Source::Listener => self.accept(),
                Source::Client(asker) => self.attend(*asker),
            }
        }
    }

    /// The next request that was understood and not yet answered.
    pub(crate) fn next_request(&mut self) -> Option<(Asker, Request)> {
        self.asked.pop_front()
    }

    /// Answers a client, if it is still there.
    pub(crate) fn answer(&mut self, asker: Asker, answer: String) {
        let gone = match self.clients.get_mut(&asker) {
            Some(client) => client.tell(answer),
            None => return,
        };
        if gone {
            self.clients.remove(&asker);
        }
    }

    /// Gives the socket another path, which was that of a process that has ended.
    pub(crate) fn inherit(&mut self, path: PathBuf) {
        if let Some(listener) = &mut self.listener
            && let Err(error) = listener.rename(path)
        {
            let local = &listener.local;
            log::warn!(target: TARGET, "The control socket stays at {local}: {error}");
        }
    }

    /// Closes the socket and removes its path.
    pub(crate) fn retire(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.retire();
        }
        self.clients.clear();
    }

    fn accept(&mut self) {
        for _ in 0..MOST_CLIENTS {
            let Some(listener) = &self.listener else {
                return;
            };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match accept_with(&listener.fd, flags) {
                Ok(stream) => self.welcome(stream),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => {
                    log::debug!(target: TARGET, "The control socket cannot accept: {error}");
                    self.paused_until = Some(Instant::now() + PAUSE);
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, stream: OwnedFd) {
        let mut client = Client::new(stream);
        if !self.open_to_others && !client.is_ours() {
            client.tell(refused(
                "only the user that the server runs as, and root, may ask",
            ));
            return;
        }
        if self.clients.len() >= MOST_CLIENTS && !self.make_room() {
            client.tell(refused("too many clients wait for the end of a restart"));
            return;
        }
        self.last += 1;
        self.clients.insert(self.last, client);
        self.attend(self.last);
    }

    fn make_room(&mut self) -> bool {
        let idle = self.clients.iter().find(|(_, client)| !client.waits());
        let Some(asker) = idle.map(|(asker, _)| *asker) else {
            return false;
        };
        self.clients.remove(&asker);
        true
    }

    fn attend(&mut self, asker: Asker) {
        let Some(client) = self.clients.get_mut(&asker) else {
            return;
        };
        match client.attend() {
            Heard::Nothing => {}
            Heard::Request(line) => match Request::parse(&line) {
                Ok(request) => self.asked.push_back((asker, request)),
                Err(error) => self.answer(asker, refused(&error)),
            },
            Heard::TooMuch => self.answer(asker, refused("the request is too long")),
            Heard::End => {
                self.clients.remove(&asker);
            }
        }
    }
}

/// Who of the control socket's descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Listener,
    Client(Asker),
}

#[cfg(test)]
mod tests;

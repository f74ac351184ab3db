//! When a worker is ready: with its application loaded, or, under `ready_check`, when the application has answered a
//! request. The request takes the way of all requests, over a connection that the engine is given; whoever asks is a native
//! thread, so that it works whatever the application does meanwhile. Invariant: *ready* is told once or never, and never by
//! a worker that leaves.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use oxicorn_engine::{Answer, Now, answer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

use super::{Crew, lock, tell};

/// From one try to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// How far the worker has come.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    told: AtomicBool,
    failed: AtomicBool,
}

/// What to ask the application.
#[derive(Debug)]
pub(crate) struct ReadyCheck {
    /// The request's path, for messages.
    pub(crate) target: String,
    /// The request.
    pub(crate) question: Vec<u8>,
    /// When it is too late.
    pub(crate) until: Option<Instant>,
}

impl ReadyCheck {
    /// `longest` at the most; `None` waits for ever.
    fn time_left(&self, longest: Option<Duration>) -> Option<Duration> {
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        self.until.map(left).into_iter().chain(longest).min()
    }

    fn is_late(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// Why a try proved nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    Status(u16),
    Unanswered,
    CutOff,
    Garbled,
    Unsent(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "was answered {status}"),
            Self::Unanswered => f.write_str("was not answered"),
            Self::CutOff => f.write_str("was cut off without an answer"),
            Self::Garbled => f.write_str("was answered with something that is not HTTP"),
            Self::Unsent(error) => write!(f, "could not be sent: {error}"),
        }
    }
}

/// How a try ended.
enum Outcome {
    Proven,
    Failed(Failure),
    /// The worker stops or leaves.
    Over,
}

/// What a wait ended with.
enum Wait {
    Input,
    Stop,
    Late,
}

/// Starts the thread that asks, and tells the arbiter when the worker is ready.
pub(crate) fn start(crew: &'static Crew, check: ReadyCheck) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("oxicorn-ready".to_owned());
    thread.spawn(move || crew.prove(&check)).map(drop)
}

impl Crew {
    /// The worker can serve.
    pub(crate) fn report_ready(&self) -> io::Result<()> {
        self.readiness.told.store(true, Ordering::Relaxed);
        self.channel.ready()
    }

    /// The worker is not ready yet: its arbiter waits for no more than `boot_timeout`.
    pub(super) fn is_booting(&self) -> bool {
        !self.readiness.told.load(Ordering::Relaxed)
    }

    /// Whether the worker ends because it did not become ready.
    pub(crate) fn is_unfit(&self) -> bool {
        self.readiness.failed.load(Ordering::Relaxed)
    }

    fn is_leaving(&self) -> bool {
        self.is_stopping() || self.draining.load(Ordering::Relaxed)
    }

    fn prove(&self, check: &ReadyCheck) {
        let mut known = Vec::new();
        loop {
            let failure = match self.ask(check) {
                Outcome::Proven => return self.pass(check),
                Outcome::Failed(failure) => failure,
                Outcome::Over => return,
            };
            if !check.is_late() && !known.contains(&failure) {
                log::warn!(
                    target: "oxicorn",
                    "Not ready (pid: {}): GET {} {failure} (ready_check); it is tried again every second",
                    std::process::id(), check.target
                );
                known.push(failure.clone());
            }
            let pause = check.time_left(Some(PAUSE));
            if matches!(self.wait_for(None, pause), Wait::Stop) {
                return;
            }
            if check.is_late() {
                return self.give_up(check, &failure);
            }
        }
    }

    fn pass(&self, check: &ReadyCheck) {
        if !self.is_leaving() {
            log::debug!(target: "oxicorn", "Worker (pid: {}) has answered GET {}", std::process::id(), check.target);
            tell("ready", self.report_ready());
        }
    }

    fn give_up(&self, check: &ReadyCheck, failure: &Failure) {
        if self.is_leaving() {
            return;
        }
        let reason = format!("GET {} {failure} (ready_check)", check.target);
        log::error!(target: "oxicorn", "Not ready in time (pid: {}): {reason}", std::process::id());
        tell("unready", self.channel.unready(&reason));
        self.readiness.failed.store(true, Ordering::Relaxed);
        // A thread that hangs in the application is for the arbiter to end, with its stacks in the log.
        if lock(&self.seat).inside == 0 {
            self.stop();
        }
    }

    fn ask(&self, check: &ReadyCheck) -> Outcome {
        let answered = self
            .send_question(check)
            .and_then(|socket| self.read_answer(&socket, check));
        match answered {
            _ if self.is_leaving() => Outcome::Over,
            Ok(outcome) => outcome,
            Err(error) => Outcome::Failed(Failure::Unsent(error.to_string())),
        }
    }

    fn send_question(&self, check: &ReadyCheck) -> io::Result<OwnedFd> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // A fresh pair has room for a head many times over.
        if send(&ours, &check.question, SendFlags::NOSIGNAL)? < check.question.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.with_engine(|engine| engine.admit_own(theirs, Now::read()))?;
        Ok(ours)
    }

    fn read_answer(&self, socket: &OwnedFd, check: &ReadyCheck) -> io::Result<Outcome> {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            match answer(&bytes) {
                Answer::Partial => {}
                Answer::Status(200..400) => return Ok(Outcome::Proven),
                Answer::Status(status) => return Ok(Outcome::Failed(Failure::Status(status))),
                Answer::Garbled => return Ok(Outcome::Failed(Failure::Garbled)),
            }
            match self.wait_for(Some(socket), check.time_left(None)) {
                Wait::Input => {}
                Wait::Stop => return Ok(Outcome::Over),
                Wait::Late => return Ok(Outcome::Failed(Failure::Unanswered)),
            }
            match recv(socket, &mut buffer, RecvFlags::empty()) {
                Ok((0, _)) | Err(Errno::CONNRESET) => {
                    return Ok(Outcome::Failed(Failure::CutOff));
                }
                Ok((length, _)) => {
                    bytes.extend_from_slice(buffer.get(..length).unwrap_or_default());
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for input on `socket`, if there is one, and for the end of the crew; no longer than `patience`.
    fn wait_for(&self, socket: Option<&OwnedFd>, patience: Option<Duration>) -> Wait {
        let end = patience.map(|patience| Instant::now() + patience);
        loop {
            let mut fds = vec![PollFd::new(&self.stopped, PollFlags::IN)];
            fds.extend(socket.map(|socket| PollFd::new(socket, PollFlags::IN)));
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            // A duration that no timespec holds is as good as for ever.
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut fds, timeout.as_ref()) {
                Ok(0) => return Wait::Late,
                Ok(_) if self.is_stopping() => return Wait::Stop,
                Ok(_) => return Wait::Input,
                Err(Errno::INTR) => {}
                Err(error) => {
                    log::error!(target: "oxicorn", "The ready check cannot wait: {error}");
                    return Wait::Stop;
                }
            }
        }
    }
}

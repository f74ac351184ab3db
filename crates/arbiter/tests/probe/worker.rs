//! The probe's worker: waits for signals, commands and connections, and does what its nature says.

use std::io;
use std::time::Duration;

use oxicorn_arbiter::channel::Command;
use oxicorn_arbiter::sys::signals::{self, SignalPipe};
use oxicorn_arbiter::{Signal, WorkerSeed};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::options::Nature;
use crate::say;

/// Lives the worker's life; the answer is its exit code.
pub(crate) fn live(seed: &WorkerSeed, nature: Nature) -> io::Result<u8> {
    match nature {
        Nature::Failing(code) => return Ok(code),
        Nature::Parent => leave_an_orphan()?,
        _ => {}
    }
    let pipe = signals::install(handled(nature))?;
    seed.channel.ready()?;
    say(&format!("worker {} ready", seed.id));
    loop {
        wait(seed, &pipe)?;
        if let Some(code) = heed(seed, &pipe, nature) {
            return Ok(code);
        }
        accept(seed, nature)?;
    }
}

fn handled(nature: Nature) -> &'static [Signal] {
    const DEAF: [Signal; 5] = [
        Signal::Term,
        Signal::Int,
        Signal::Quit,
        Signal::Usr1,
        Signal::Abrt,
    ];
    if nature == Nature::Deaf {
        &DEAF
    } else {
        &DEAF[..4]
    }
}

fn wait(seed: &WorkerSeed, pipe: &SignalPipe) -> io::Result<()> {
    let mut fds = vec![
        PollFd::new(pipe, PollFlags::IN),
        PollFd::new(&seed.channel, PollFlags::IN),
    ];
    fds.extend(
        seed.listeners
            .iter()
            .map(|listener| PollFd::new(listener, PollFlags::IN)),
    );
    match poll(&mut fds, None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The exit code, if it was told to go.
fn heed(seed: &WorkerSeed, pipe: &SignalPipe, nature: Nature) -> Option<u8> {
    let id = seed.id;
    let mut leave = false;
    for signal in pipe.received() {
        say(&format!("worker {id} hears {}", signal.lower_name()));
        leave |= signal != Signal::Usr1;
    }
    while let Some(command) = seed.channel.received() {
        say(&format!("worker {id} is told {command:?}"));
        if command == Command::Orphaned {
            return Some(0);
        }
        leave = true;
    }
    (leave && nature != Nature::Deaf).then_some(0)
}

fn accept(seed: &WorkerSeed, nature: Nature) -> io::Result<()> {
    for listener in &seed.listeners {
        match rustix::net::accept(listener) {
            Ok(connection) => {
                rustix::io::write(&connection, format!("worker {}\n", seed.id).as_bytes())?;
                report(seed, nature)?;
            }
            Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn report(seed: &WorkerSeed, nature: Nature) -> io::Result<()> {
    match nature {
        Nature::Stuck | Nature::Deaf => {
            seed.channel
                .stuck("GET /slow HTTP/1.1", "127.0.0.1:9", Duration::from_secs(31))
        }
        Nature::Retiring => seed.channel.retiring(),
        Nature::Obedient | Nature::Parent | Nature::Failing(_) => Ok(()),
    }
}

/// A grandchild of the worker's whose own parent is gone falls to the arbiter.
fn leave_an_orphan() -> io::Result<()> {
    std::process::Command::new("sh")
        .args(["-c", "exec 2>/dev/null; (exit 7) & exit 0"])
        .status()?;
    Ok(())
}

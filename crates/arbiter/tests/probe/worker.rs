//! The probe's worker: waits for signals, commands and connections, and does what its nature says.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use oxicorn_arbiter::channel::Command;
use oxicorn_arbiter::sys::signals::{self, SignalPipe};
use oxicorn_arbiter::{Signal, WorkerSeed};
use oxicorn_board::Place;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, retry_on_intr};

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
    let mut post = Post::default();
    let place = seed.floor.and_then(|floor| floor.enter(seed.id));
    loop {
        let rests = place.filter(|_| post.serves);
        rests.into_iter().for_each(Place::rest);
        wait(seed, &pipe, post.serves)?;
        rests.into_iter().for_each(Place::rise);
        if let Some(code) = heed(seed, &pipe, nature, &mut post)? {
            return Ok(code);
        }
        if post.serves {
            accept(seed, nature)?;
        }
    }
}

/// What the arbiter wants from the worker.
#[derive(Default)]
struct Post {
    serves: bool,
    /// Ends of pairs, kept as long as the worker lives.
    ends: Vec<OwnedFd>,
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

fn wait(seed: &WorkerSeed, pipe: &SignalPipe, serves: bool) -> io::Result<()> {
    let mut fds = vec![
        PollFd::new(pipe, PollFlags::IN),
        PollFd::new(&seed.channel, PollFlags::IN),
    ];
    fds.extend(
        seed.listeners
            .iter()
            .filter(|_| serves)
            .map(|listener| PollFd::new(listener, PollFlags::IN)),
    );
    match poll(&mut fds, None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The exit code, if it was told to go.
fn heed(
    seed: &WorkerSeed,
    pipe: &SignalPipe,
    nature: Nature,
    post: &mut Post,
) -> io::Result<Option<u8>> {
    let id = seed.id;
    let mut leave = false;
    while let Some(command) = seed.channel.received() {
        say(&format!("worker {id} is told {command:?}"));
        let serves = matches!(command, Command::Serve | Command::Take(_));
        post.serves = serves || matches!(command, Command::Share { .. });
        match command {
            Command::Orphaned => return Ok(Some(0)),
            Command::Drain => leave = true,
            Command::Give(end) => {
                rustix::io::write(&end, format!("gift of {id}").as_bytes())?;
                post.ends.push(end);
                seed.channel.given()?;
            }
            Command::Share { to, .. } => {
                rustix::io::write(&to, format!("share of {id}").as_bytes())?;
                post.ends.push(to);
            }
            Command::Take(end) => {
                let mut gift = [0; 32];
                // The word to leave may interrupt both.
                retry_on_intr(|| poll(&mut [PollFd::new(&end, PollFlags::IN)], None))?;
                let length = retry_on_intr(|| rustix::io::read(&end, &mut gift))?;
                let gift = String::from_utf8_lossy(gift.get(..length).unwrap_or_default());
                say(&format!("worker {id} takes the {gift}"));
                post.ends.push(end);
            }
            Command::Serve | Command::Park => {}
        }
    }
    // After the commands: one that made it leave must not hide the signal that came with it.
    for signal in pipe.received() {
        say(&format!("worker {id} hears {}", signal.lower_name()));
        leave |= signal != Signal::Usr1;
    }
    Ok((leave && nature != Nature::Deaf).then_some(0))
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
        Nature::Crowded => seed.channel.crowded(40),
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

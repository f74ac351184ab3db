//! The probe's stem: forks plainly, and fails as its nature says.

use std::io;

use oxicorn_arbiter::sys::process;
use oxicorn_arbiter::{Fork, StemSeed, WorkerSeed};
use rustix::process::{Signal, getpid, kill_process};

use crate::options::StemNature;
use crate::say;

/// Who comes out of a stem's life.
pub(crate) enum End {
    Stem(u8),
    Worker(WorkerSeed),
}

pub(crate) fn live(seed: StemSeed, nature: StemNature) -> io::Result<End> {
    let generation = seed.generation;
    say(&format!("stem {generation} is {}", own_pid()));
    seed.begin()?;
    match nature {
        StemNature::Failing(code) => return Ok(End::Stem(code)),
        StemNature::Hanging => hang()?,
        StemNature::Obedient | StemNature::Dying | StemNature::Childless => {}
    }
    seed.ready()?;
    say(&format!("stem {generation} ready"));
    let stem = own_pid();
    let mut forks = 0;
    let mut fork = || {
        forks += 1;
        let is_stem = own_pid() == stem;
        let side = process::fork()?;
        match (nature, side) {
            // The worker waits for a word of whom has just died.
            (StemNature::Dying, Fork::Parent(_)) if !is_stem => kill(stem)?,
            (StemNature::Childless, Fork::Child) if is_stem && forks == 1 => kill(own_pid())?,
            _ => {}
        }
        Ok(side)
    };
    let mut reopen = || say(&format!("stem {generation} reopens"));
    if let Some(seed) = seed.grow(&mut |_| Ok(()), &mut fork, &mut reopen) {
        return Ok(End::Worker(seed));
    }
    say(&format!("stem {generation} leaves"));
    Ok(End::Stem(0))
}

fn own_pid() -> i32 {
    getpid().as_raw_nonzero().get()
}

fn kill(pid: i32) -> io::Result<()> {
    let pid = rustix::process::Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(kill_process(pid, Signal::KILL)?)
}

/// For ever, whatever signal comes.
fn hang() -> io::Result<()> {
    let (_kept, end) = rustix::pipe::pipe().map(|(read, write)| (write, read))?;
    loop {
        match rustix::io::read(&end, &mut [0; 1]) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

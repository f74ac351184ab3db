//! The smallest embedder of the arbiter, for the tests that need real processes.
//!
//! It forks plainly, logs to standard output, and its workers answer every connection with
//! their number. Arguments are `name=value`; see [`Options`].

mod options;
mod stem;
mod worker;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use options::Options;
use oxicorn_arbiter::sys::process;
use oxicorn_arbiter::{
    Arbiter, Fork, Host, Inheritance, Notice, NotifyOptions, Outcome, Policy, Raised, StartCommand,
    StemSeed, WorkerSeed,
};
use rustix::process::{Resource, Rlimit, setrlimit};

fn main() -> ExitCode {
    let mut options = match Options::from_arguments(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => return fail(2, &error),
    };
    let variables = (options.notify_socket.clone(), options.watchdog_usec.clone());
    let read = |name: &str| match name {
        "NOTIFY_SOCKET" => variables.0.clone(),
        "WATCHDOG_USEC" => variables.1.clone(),
        _ => None,
    };
    let own = rustix::process::getpid().as_raw_nonzero().get();
    options.setup.notify = NotifyOptions::from_environment(read, own);
    options.setup.command = match start_command() {
        Ok(command) => command,
        Err(error) => return fail(1, &error.to_string()),
    };
    let read = |name: &str| std::env::var(name).ok();
    options.setup.inheritance = Inheritance::from_environment(read, false);
    if log::set_logger(&StandardOutput).is_ok() {
        log::set_max_level(log::LevelFilter::Debug);
    }
    match serve(&options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(1, &error.to_string()),
    }
}

fn start_command() -> io::Result<StartCommand> {
    Ok(StartCommand {
        program: std::env::current_exe()?,
        arguments: std::env::args_os().skip(1).collect(),
        environment: std::env::vars_os().collect(),
        directory: std::env::current_dir()?,
    })
}

fn serve(options: &Options) -> io::Result<u8> {
    if options.daemon {
        process::daemonize(true)?;
    }
    if options.adopts_orphans {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    }
    let arbiter = match Arbiter::start(options.setup.clone(), Embedder(options.setup.policy)) {
        Ok(arbiter) => arbiter,
        Err(fatal) => {
            say(&format!("fatal {fatal}"));
            return Ok(fatal.exit_code());
        }
    };
    if let Some(spare) = options.spare_files {
        limit_files(spare)?;
    }
    match arbiter.run() {
        Outcome::Exit(code) => Ok(code),
        Outcome::Worker(seed) => work(&seed, options),
        Outcome::Stem(seed) => {
            let nature = options.stem_of(seed.generation);
            match stem::live(seed, nature)? {
                stem::End::Stem(code) => Ok(code),
                stem::End::Worker(seed) => work(&seed, options),
            }
        }
    }
}

fn work(seed: &WorkerSeed, options: &Options) -> io::Result<u8> {
    let next = options.next_worker.filter(|_| seed.generation > 1);
    worker::live(seed, next.unwrap_or(options.worker))
}

/// Leaves so many numbers free below the limit of open files.
fn limit_files(spare: usize) -> io::Result<()> {
    let closed = |number: &u64| !Path::new(&format!("/proc/self/fd/{number}")).exists();
    let limit = (0..).filter(closed).nth(spare);
    let limits = Rlimit {
        current: limit,
        maximum: limit,
    };
    Ok(setrlimit(Resource::Nofile, limits)?)
}

fn fail(code: u8, error: &str) -> ExitCode {
    say(&format!("error {error}"));
    ExitCode::from(code)
}

/// One `write` for the whole line, since several processes share the pipe.
fn say(line: &str) {
    let mut output = io::stdout().lock();
    let written = output.write_all(format!("{line}\n").as_bytes());
    // The reader may be gone: then nobody misses the line.
    drop(written.and_then(|()| output.flush()));
}

struct StandardOutput;

impl log::Log for StandardOutput {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let critical = record.target().ends_with("critical");
        let level = if critical {
            "CRITICAL"
        } else {
            record.level().as_str()
        };
        say(&format!("{level} {}", record.args()));
    }

    fn flush(&self) {}
}

/// Knows what the configuration says.
struct Embedder(Policy);

impl Host for Embedder {
    fn fork(&mut self, _: &WorkerSeed) -> io::Result<Fork> {
        process::fork()
    }

    fn fork_stem(&mut self, _: &StemSeed) -> io::Result<Fork> {
        process::fork()
    }

    fn read_configuration(&mut self, generation: u32) -> Result<Policy, String> {
        say(&format!("configuration for {generation}"));
        Ok(self.0)
    }

    fn reopen_logs(&mut self) {
        say("arbiter reopens");
    }

    fn notify(&mut self, notice: Notice<'_>) -> Result<(), Raised> {
        match notice {
            Notice::WorkerForked { worker, pid } => say(&format!("forked {worker} {pid}")),
            Notice::RestartEnded {
                generation,
                failure,
            } => say(&format!("restart ended {generation} {failure:?}")),
            Notice::Promoted => say("names taken over"),
            Notice::Exiting { code } => say(&format!("exiting {code}")),
            _ => {}
        }
        Ok(())
    }
}

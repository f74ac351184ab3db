//! From the system's words to the core's and back: reports, exits, log levels, times.

use std::time::Duration;

use oxicorn_board::Floor;
use rustix::event::Timespec;
use rustix::process::WaitStatus;

use crate::channel::Report;
use crate::core::{Event, Exit, Level, WorkerId};

/// The target of every line that this crate logs.
pub(crate) const TARGET: &str = "oxicorn";
/// The target that the log crate's consumer shows as CRITICAL, a level which `log` does not have.
const CRITICAL: &str = "oxicorn::critical";

pub(crate) fn write_log(level: Level, text: &str) {
    match level {
        Level::Debug => log::debug!(target: TARGET, "{text}"),
        Level::Info => log::info!(target: TARGET, "{text}"),
        Level::Warning => log::warn!(target: TARGET, "{text}"),
        Level::Error => log::error!(target: TARGET, "{text}"),
        Level::Critical => log::error!(target: CRITICAL, "{text}"),
    }
}

/// `floor`: where the workers show what they have to do.
pub(crate) fn event_of(worker: WorkerId, report: Report, floor: Option<&Floor>) -> Event {
    match report {
        Report::Ready => Event::WorkerReady { worker },
        Report::Unready(reason) => Event::WorkerUnready { worker, reason },
        Report::Outgrown { used, limit } => Event::WorkerOutgrown {
            worker,
            used,
            limit,
        },
        Report::Stuck(request) => Event::WorkerStuck { worker, request },
        Report::Retiring => Event::WorkerRetiring { worker },
        Report::Given => Event::WorkerGave { worker },
        Report::Stranded => Event::WorkerStranded { worker },
        Report::Saturated(waiting) => Event::WorkerSaturated { worker, waiting },
        Report::Crowded(waiting) => Event::WorkerCrowded {
            worker,
            waiting,
            beside: floor.map_or_else(Vec::new, |floor| loads_beside(worker, floor)),
        },
        Report::Relieved => Event::WorkerRelieved { worker },
        Report::Draining => Event::WorkerDraining { worker },
    }
}

fn loads_beside(worker: WorkerId, floor: &Floor) -> Vec<(WorkerId, u32)> {
    let others = floor.look().filter(|seen| seen.worker != worker);
    others.map(|seen| (seen.worker, seen.load())).collect()
}

/// `None` for a child that was stopped or continued.
pub(crate) fn exit_of(status: WaitStatus) -> Option<Exit> {
    const CORE_DUMPED: i32 = 0x80;
    let killed = || {
        let core = status.as_raw() & CORE_DUMPED != 0;
        status
            .terminating_signal()
            .map(|number| Exit::Signal { number, core })
    };
    status.exit_status().map(Exit::Code).or_else(killed)
}

pub(crate) fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}

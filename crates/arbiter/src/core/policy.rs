//! The numbers that steer the arbiter's decisions. The settings behind them live in
//! `crates/settings`.

use std::time::Duration;

use oxicorn_settings::RestartMode;

/// What the operator asked for, and the fixed times of the arbiter's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How many workers serve (`workers`).
    pub workers: usize,
    /// How long a worker may take to finish its work after it was told to go (`graceful_timeout`).
    pub graceful_timeout: Duration,
    /// How long the server goes on serving after TERM before it stops (`shutdown_delay`).
    pub shutdown_delay: Duration,
    /// How long a worker may take from its fork to its ready report; `None` waits for ever.
    pub boot_timeout: Option<Duration>,
    /// Whether the arbiter runs in the background (`daemon`): only then does WINCH stop the
    /// workers.
    pub daemon: bool,
    /// How a restart goes about it if it was not said (`restart_mode`).
    pub restart_mode: RestartMode,
    /// How long a new generation is watched before the old one leaves (`observe_timeout`).
    pub observe_timeout: Duration,
    /// Whether a stem imports the application and forks the workers (`preload_app`).
    pub preload: bool,
}

impl Policy {
    /// From SIGABRT, which makes a stuck worker write its stacks, to SIGKILL.
    pub const ABORT_GRACE: Duration = Duration::from_secs(2);
    /// From the report of a worker that hangs, and whose connections nobody takes, to its SIGABRT:
    /// time for a successor that takes them to get ready.
    pub const RESCUE: Duration = Duration::from_secs(5);
    /// From the moment at which that successor takes them to the SIGABRT.
    pub const MOVE: Duration = Duration::from_millis(500);
    /// How long a quick stop (INT, QUIT) is a graceful one where another arbiter takes the
    /// connections.
    pub const PARTING: Duration = Duration::from_secs(1);
    /// What a quick stop (INT, QUIT, a second TERM) leaves the workers before SIGKILL.
    pub const QUICK_TIMEOUT: Duration = Duration::from_secs(2);
    /// How long the arbiter waits for workers it sent SIGKILL before it leaves without them.
    pub const KILL_GRACE: Duration = Duration::from_secs(2);
    /// From the word to go to the SIGKILL of a stem, which has nothing to finish.
    pub const STEM_GRACE: Duration = Duration::from_secs(2);
    /// After a worker has taken a share of what waited in a sibling, it gives none for so long. So no
    /// connection moves twice within this time because of balance.
    pub const STAY: Duration = Duration::from_millis(100);
    /// From one share between workers that all have something to do to the next one of either of them.
    pub const CALM: Duration = Duration::from_millis(500);
    /// A worker that has served this long has settled: its slot's count of early deaths starts
    /// anew.
    pub const SETTLED: Duration = Duration::from_secs(10);

    /// What a quick stop leaves the workers; never longer than a graceful one.
    pub(super) fn quick_timeout(&self) -> Duration {
        Self::QUICK_TIMEOUT.min(self.graceful_timeout)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            workers: 1,
            graceful_timeout: Duration::from_secs(30),
            shutdown_delay: Duration::ZERO,
            boot_timeout: None,
            daemon: false,
            restart_mode: RestartMode::Hot,
            observe_timeout: Duration::from_secs(10),
            preload: false,
        }
    }
}

//! What the probe's arguments mean.

use std::str::FromStr;
use std::time::Duration;

use oxicorn_arbiter::Setup;
use oxicorn_settings::RestartMode;

/// How the probe runs.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) setup: Setup,
    pub(crate) worker: Nature,
    /// The nature of the workers of later generations, if it is another.
    pub(crate) next_worker: Option<Nature>,
    pub(crate) stem: StemNature,
    /// The nature of the stems of later generations, if it is another.
    pub(crate) next_stem: Option<StemNature>,
    pub(crate) daemon: bool,
    /// How many files the arbiter may still open once it is up.
    pub(crate) spare_files: Option<usize>,
    /// Orphans of the process tree become the arbiter's children, as those of a container do.
    pub(crate) adopts_orphans: bool,
    /// As a service manager would set the variables.
    pub(crate) notify_socket: Option<String>,
    pub(crate) watchdog_usec: Option<String>,
}

/// How the probe's workers behave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Nature {
    /// Does as it is told.
    #[default]
    Obedient,
    /// Reports itself stuck at its first connection, and dies of SIGABRT.
    Stuck,
    /// As stuck, but heeds no signal.
    Deaf,
    /// Asks for a successor at its first connection.
    Retiring,
    /// Says at its first connection that requests wait in it.
    Crowded,
    /// Leaves a child behind at its start, which ends at once.
    Parent,
    /// Ends with this code instead of serving.
    Failing(u8),
}

/// How the probe's stems behave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum StemNature {
    /// Does as it is told.
    #[default]
    Obedient,
    /// Never gets ready.
    Hanging,
    /// Dies when it has forked a worker, before the worker begins.
    Dying,
    /// The process between it and a worker dies before it has forked it, the first time.
    Childless,
    /// Ends with this code instead of getting ready.
    Failing(u8),
}

impl Options {
    pub(crate) fn stem_of(&self, generation: u32) -> StemNature {
        let next = self.next_stem.filter(|_| generation > 1);
        next.unwrap_or(self.stem)
    }

    pub(crate) fn from_arguments(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        for argument in arguments {
            let (name, value) = argument.split_once('=').ok_or("name=value")?;
            options
                .set(name, value)
                .map_err(|error| format!("{argument}: {error}"))?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let setup = &mut self.setup;
        match name {
            "workers" => setup.policy.workers = number(value)?,
            "graceful_timeout" => {
                setup.policy.graceful_timeout = Duration::from_secs_f64(number(value)?);
            }
            "shutdown_delay" => {
                setup.policy.shutdown_delay = Duration::from_secs_f64(number(value)?);
            }
            "boot_timeout" => {
                setup.policy.boot_timeout = Some(Duration::from_secs_f64(number(value)?));
            }
            "restart_mode" => {
                setup.policy.restart_mode = match value {
                    "hot" => RestartMode::Hot,
                    "phased" => RestartMode::Phased,
                    "regular" => RestartMode::Regular,
                    _ => return Err("unknown mode".to_owned()),
                }
            }
            "observe_timeout" => {
                setup.policy.observe_timeout = Duration::from_secs_f64(number(value)?);
            }
            "next_worker" => self.next_worker = Some(value.parse()?),
            "bind" => setup.binds.push(value.parse()?),
            "pidfile" => setup.pidfile = Some(value.into()),
            "preload" => setup.policy.preload = value == "true",
            "stem" => self.stem = value.parse()?,
            "next_stem" => self.next_stem = Some(value.parse()?),
            "worker" => self.worker = value.parse()?,
            "spare_files" => self.spare_files = Some(number(value)?),
            "notify_socket" => self.notify_socket = Some(value.to_owned()),
            "watchdog_usec" => self.watchdog_usec = Some(value.to_owned()),
            "daemon" => self.daemon = true,
            "adopts_orphans" => self.adopts_orphans = true,
            _ => return Err("unknown".to_owned()),
        }
        Ok(())
    }
}

impl FromStr for Nature {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("failing", code)) => Ok(Self::Failing(number(code)?)),
            None if text == "stuck" => Ok(Self::Stuck),
            None if text == "deaf" => Ok(Self::Deaf),
            None if text == "retiring" => Ok(Self::Retiring),
            None if text == "crowded" => Ok(Self::Crowded),
            None if text == "parent" => Ok(Self::Parent),
            _ => Err("unknown nature".to_owned()),
        }
    }
}

impl FromStr for StemNature {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("failing", code)) => Ok(Self::Failing(number(code)?)),
            None if text == "hanging" => Ok(Self::Hanging),
            None if text == "dying" => Ok(Self::Dying),
            None if text == "childless" => Ok(Self::Childless),
            _ => Err("unknown nature".to_owned()),
        }
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "not a number".to_owned())
}

//! Why the server cannot start. Each says what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::core::Signal;
use crate::host::Raised;

/// A reason not to serve, found before the first worker was forked.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fatal {
    /// An address could not be listened on.
    Bind {
        /// The address as the operator wrote it.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// An inherited descriptor cannot serve as a listener.
    Descriptor {
        /// Its number.
        number: i32,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A path to be bound exists and is not a socket.
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The pidfile names a process that is alive.
    AlreadyRunning {
        /// The process.
        pid: i32,
        /// The pidfile.
        path: PathBuf,
    },
    /// The pidfile could not be written.
    Pidfile {
        /// The pidfile.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The state of the arbiter in whose place this process began cannot be gone on from.
    Resume {
        /// What is wrong with it.
        reason: String,
    },
    /// Signals cannot be received.
    Signals {
        /// What the system said.
        source: io::Error,
    },
    /// A hook of the embedder's failed.
    Raised(Raised),
    /// A signal asked to stop before the server was up.
    Stopped {
        /// Which one.
        signal: Signal,
    },
}

impl Fatal {
    /// The process' exit code, as gunicorn's: 0 when the operator stopped it, else 1.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Stopped { .. } => 0,
            Self::Raised(raised) => raised.code,
            _ => 1,
        }
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, source } => {
                write!(f, "Can't connect to {address}: {}", bind_hint(source))
            }
            Self::Descriptor { number, source } => write!(
                f,
                "Can't use fd://{number}: {source}. It must be a listening stream socket, \
                 inherited from the process that started the server."
            ),
            Self::NotASocket { path } => write!(
                f,
                "Can't bind unix:{path}: it exists and is not a socket. Remove it or choose \
                 another path.",
                path = path.display()
            ),
            Self::AlreadyRunning { pid, path } => {
                write!(
                    f,
                    "Already running on PID {pid} (or pid file '{}' is stale)",
                    path.display()
                )
            }
            Self::Pidfile { path, source } => {
                write!(f, "Can't create pidfile '{}': {source}", path.display())
            }
            Self::Resume { reason } => write!(f, "Can't take over: {reason}"),
            Self::Signals { source } => write!(f, "Can't receive signals: {source}"),
            Self::Raised(raised) => f.write_str(&raised.reason),
            Self::Stopped { signal } => {
                write!(
                    f,
                    "Stopped by signal {} while starting",
                    signal.lower_name()
                )
            }
        }
    }
}

impl std::error::Error for Fatal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { source, .. }
            | Self::Descriptor { source, .. }
            | Self::Pidfile { source, .. }
            | Self::Signals { source } => Some(source),
            Self::NotASocket { .. }
            | Self::AlreadyRunning { .. }
            | Self::Resume { .. }
            | Self::Raised(_)
            | Self::Stopped { .. } => None,
        }
    }
}

fn bind_hint(source: &io::Error) -> String {
    let advice = match source.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            "Another process listens there: stop it or choose another address."
        }
        Some(libc::EADDRNOTAVAIL) => "No network interface of this machine has that address.",
        Some(libc::EACCES | libc::EPERM) => {
            "Ports below 1024 need root or CAP_NET_BIND_SERVICE; a Unix socket needs a directory \
             that may be written to."
        }
        Some(libc::ENOENT) => "The directory does not exist.",
        Some(libc::ENAMETOOLONG) => "The path of a Unix socket has at most 107 bytes.",
        Some(libc::EMFILE | libc::ENFILE) => "Raise the limit of open files (ulimit -n).",
        _ => "Check the address.",
    };
    format!("{source}. {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_port_says_what_it_needs() {
        let fatal = Fatal::Bind {
            address: "0.0.0.0:80".to_owned(),
            source: io::Error::from_raw_os_error(libc::EACCES),
        };
        let text = fatal.to_string();
        assert!(
            text.starts_with("Can't connect to 0.0.0.0:80: Permission denied"),
            "{text}"
        );
        assert!(text.contains("CAP_NET_BIND_SERVICE"), "{text}");
        assert_eq!(fatal.exit_code(), 1);
    }

    #[test]
    fn a_stop_while_starting_is_not_a_failure() {
        assert_eq!(
            Fatal::Stopped {
                signal: Signal::Term
            }
            .exit_code(),
            0
        );
    }
}

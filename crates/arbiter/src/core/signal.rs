//! The signals that the arbiter receives or sends, and the names that the log gives them.

/// A signal that the arbiter receives from the operator or the kernel, or sends to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    /// Hang up: restart, in gunicorn's use.
    Hup,
    /// Quick stop (Ctrl-C).
    Int,
    /// Quick stop.
    Quit,
    /// Sent to a stuck worker: dump the stacks and die.
    Abrt,
    /// Sent to a worker that did not go.
    Kill,
    /// Reopen the log files.
    Usr1,
    /// Replace the server's own program, in gunicorn's use.
    Usr2,
    /// Graceful stop.
    Term,
    /// A child ended.
    Chld,
    /// One worker more.
    Ttin,
    /// One worker less.
    Ttou,
    /// Stop all workers, when daemonized.
    Winch,
}

impl Signal {
    /// Every signal that the arbiter listens to.
    pub const HANDLED: [Self; 10] = [
        Self::Hup,
        Self::Int,
        Self::Quit,
        Self::Usr1,
        Self::Usr2,
        Self::Term,
        Self::Chld,
        Self::Ttin,
        Self::Ttou,
        Self::Winch,
    ];

    /// The number that the kernel knows it by.
    pub const fn number(self) -> i32 {
        match self {
            Self::Hup => libc::SIGHUP,
            Self::Int => libc::SIGINT,
            Self::Quit => libc::SIGQUIT,
            Self::Abrt => libc::SIGABRT,
            Self::Kill => libc::SIGKILL,
            Self::Usr1 => libc::SIGUSR1,
            Self::Usr2 => libc::SIGUSR2,
            Self::Term => libc::SIGTERM,
            Self::Chld => libc::SIGCHLD,
            Self::Ttin => libc::SIGTTIN,
            Self::Ttou => libc::SIGTTOU,
            Self::Winch => libc::SIGWINCH,
        }
    }

    /// The signal with this number, if it is one of ours.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::HANDLED
            .into_iter()
            .chain([Self::Abrt, Self::Kill])
            .find(|s| s.number() == number)
    }

    /// The name without `SIG` in lower case, as gunicorn logs it (`Handling signal: term`).
    pub const fn lower_name(self) -> &'static str {
        match self {
            Self::Hup => "hup",
            Self::Int => "int",
            Self::Quit => "quit",
            Self::Abrt => "abrt",
            Self::Kill => "kill",
            Self::Usr1 => "usr1",
            Self::Usr2 => "usr2",
            Self::Term => "term",
            Self::Chld => "chld",
            Self::Ttin => "ttin",
            Self::Ttou => "ttou",
            Self::Winch => "winch",
        }
    }
}

/// The name of any signal number: `SIGSEGV`, or `signal 40` for one without a name.
pub fn signal_name(number: i32) -> String {
    NAMES
        .iter()
        .find(|(known, _)| *known == number)
        .map_or_else(
            || format!("signal {number}"),
            |(_, name)| (*name).to_owned(),
        )
}

const NAMES: [(i32, &str); 28] = [
    (libc::SIGHUP, "SIGHUP"),
    (libc::SIGINT, "SIGINT"),
    (libc::SIGQUIT, "SIGQUIT"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGTRAP, "SIGTRAP"),
    (libc::SIGABRT, "SIGABRT"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGKILL, "SIGKILL"),
    (libc::SIGUSR1, "SIGUSR1"),
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGUSR2, "SIGUSR2"),
    (libc::SIGPIPE, "SIGPIPE"),
    (libc::SIGALRM, "SIGALRM"),
    (libc::SIGTERM, "SIGTERM"),
    (libc::SIGCHLD, "SIGCHLD"),
    (libc::SIGCONT, "SIGCONT"),
    (libc::SIGSTOP, "SIGSTOP"),
    (libc::SIGTSTP, "SIGTSTP"),
    (libc::SIGTTIN, "SIGTTIN"),
    (libc::SIGTTOU, "SIGTTOU"),
    (libc::SIGURG, "SIGURG"),
    (libc::SIGXCPU, "SIGXCPU"),
    (libc::SIGXFSZ, "SIGXFSZ"),
    (libc::SIGVTALRM, "SIGVTALRM"),
    (libc::SIGPROF, "SIGPROF"),
    (libc::SIGWINCH, "SIGWINCH"),
    (libc::SIGSYS, "SIGSYS"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_handled_signal_is_found_by_its_number() {
        for signal in Signal::HANDLED {
            assert_eq!(Signal::from_number(signal.number()), Some(signal));
        }
    }

    #[test]
    fn the_two_names_of_a_signal_agree() {
        for signal in Signal::HANDLED {
            let long = signal_name(signal.number());
            assert_eq!(long.to_lowercase(), format!("sig{}", signal.lower_name()));
        }
    }

    #[test]
    fn a_real_time_signal_is_named_by_its_number() {
        assert_eq!(signal_name(40), "signal 40");
    }
}

//! What an arbiter inherits from the one that started it: the variables in which it is told.
//!
//! `GUNICORN_PID` and `GUNICORN_FD` are gunicorn's, so that one of the two may be a gunicorn;
//! `OXICORN_LINK` is ours, and names the descriptor of the link; so are `OXICORN_PATHS` and
//! `OXICORN_MEETING_PLACE`. Invariant: whoever sets a variable here sets it to what
//! [`Inheritance::from_environment`] reads.

use std::os::fd::RawFd;

use crate::core::Pid;

/// What the arbiter that started this one left to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inheritance {
    pub(crate) elder: Pid,
    /// The numbers of the listening sockets; empty if they come as the service manager's do.
    pub(crate) listeners: Vec<RawFd>,
    /// Which of them are Unix sockets whose paths the elder made; `None` if it did not say.
    pub(crate) paths: Option<Vec<RawFd>>,
    pub(super) link: Option<RawFd>,
    /// Where the workers of an arbiter that is killed are met.
    pub(crate) meeting_place: Option<RawFd>,
}

/// The process id of the arbiter that starts another one.
pub(super) const ELDER: &str = "GUNICORN_PID";
/// The numbers of the listening sockets, separated by commas.
pub(super) const LISTENERS: &str = "GUNICORN_FD";
/// Those of the numbers whose Unix sockets' paths the elder made, and would remove.
pub(super) const PATHS: &str = "OXICORN_PATHS";
/// The number of the link's descriptor.
pub(super) const LINK: &str = "OXICORN_LINK";
/// The number of the meeting place's descriptor.
pub(super) const MEETING_PLACE: &str = "OXICORN_MEETING_PLACE";

impl Inheritance {
    /// The variables that are read here. They are the caller's to remove from the environment, so
    /// that no worker takes itself for an arbiter's successor.
    pub const VARIABLES: [&str; 5] = [ELDER, LISTENERS, PATHS, LINK, MEETING_PLACE];

    /// Reads the variables through `read`. Without listening sockets there is no inheritance; a
    /// gunicorn that was socket-activated leaves them as `LISTEN_FDS`, which `activated` tells.
    pub fn from_environment(
        read: impl Fn(&str) -> Option<String>,
        activated: bool,
    ) -> Option<Self> {
        let elder = read(ELDER)?.trim().parse().ok().filter(|pid| *pid > 0)?;
        let listeners = numbers(&read(LISTENERS).unwrap_or_default());
        let paths = read(PATHS).map(|text| numbers(&text));
        let number = |name| read(name).and_then(|number| number.parse().ok());
        (activated || !listeners.is_empty()).then_some(Self {
            elder,
            listeners,
            paths,
            link: number(LINK),
            meeting_place: number(MEETING_PLACE),
        })
    }
}

fn numbers(text: &str) -> Vec<RawFd> {
    let numbers = text.split(',');
    numbers
        .filter_map(|number| number.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)], activated: bool) -> Option<Inheritance> {
        let read = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Inheritance::from_environment(read, activated)
    }

    #[test]
    fn a_gunicorn_leaves_its_sockets_and_no_link() {
        let left = read(&[("GUNICORN_PID", "7"), ("GUNICORN_FD", "5,8")], false).unwrap();
        assert_eq!(
            (left.elder, left.listeners, left.link),
            (7, vec![5, 8], None)
        );
    }

    #[test]
    fn an_activated_gunicorn_leaves_the_sockets_to_the_other_variables() {
        assert_eq!(read(&[("GUNICORN_PID", "7")], true).unwrap().listeners, []);
    }

    #[test]
    fn an_arbiter_of_ours_leaves_a_link_as_well() {
        let variables = [
            ("GUNICORN_PID", "7"),
            ("GUNICORN_FD", "5"),
            ("OXICORN_PATHS", ""),
            ("OXICORN_LINK", "9"),
            ("OXICORN_MEETING_PLACE", "4"),
        ];
        let left = read(&variables, false).unwrap();
        assert_eq!((left.paths, left.link), (Some(Vec::new()), Some(9)));
        assert_eq!(left.meeting_place, Some(4));
    }

    #[test]
    fn without_sockets_or_a_process_there_is_none() {
        assert_eq!(read(&[("GUNICORN_PID", "7")], false), None);
        assert_eq!(
            read(&[("GUNICORN_PID", "7"), ("GUNICORN_FD", "")], false),
            None
        );
        for pid in ["", "0", "-3", "x"] {
            assert_eq!(
                read(&[("GUNICORN_PID", pid), ("GUNICORN_FD", "5")], false),
                None
            );
        }
        assert_eq!(read(&[("GUNICORN_FD", "5")], false), None);
    }
}

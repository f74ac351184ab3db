//! The variable by which an arbiter tells the program that it executes how that begins.
//!
//! ```text
//! OXICORN_UPGRADE=check:PARENT            check the state on standard input, answer, end
//! OXICORN_UPGRADE=take:PID:FD             take over from the state in this descriptor
//! OXICORN_UPGRADE=back:PID:FD:REASON      the same for the former version, and why
//! ```
//!
//! Invariant: a process that merely inherited the variable takes no order from it, which is what the
//! process ids are for.

use std::ffi::OsString;
use std::os::fd::RawFd;

use crate::core::Pid;

/// How a program begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    Check,
    Take(RawFd),
    Back(RawFd, String),
}

impl Order {
    pub(crate) const VARIABLE: &str = "OXICORN_UPGRADE";

    /// The variable with its value, given by this process to its child, or to what it becomes.
    pub(crate) fn variable(&self, own: Pid) -> OsString {
        format!("{}={}", Self::VARIABLE, self.value(own)).into()
    }

    pub(crate) fn value(&self, own: Pid) -> String {
        match self {
            Self::Check => format!("check:{own}"),
            Self::Take(state) => format!("take:{own}:{state}"),
            Self::Back(state, reason) => {
                format!("back:{own}:{state}:{}", reason.replace('\0', " "))
            }
        }
    }

    /// The order for the process `own`, if there is one.
    pub(crate) fn read(value: &str, own: Pid, parent: Option<Pid>) -> Option<Self> {
        let mut words = value.splitn(4, ':');
        let (verb, pid) = (words.next()?, words.next()?.parse::<Pid>().ok());
        let state = words.next();
        match (verb, state.and_then(|state| state.parse().ok())) {
            ("check", None) if pid == parent => Some(Self::Check),
            ("take", Some(state)) if pid == Some(own) => Some(Self::Take(state)),
            ("back", Some(state)) if pid == Some(own) => {
                Some(Self::Back(state, words.next()?.to_owned()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_heard_by_whom_it_is_for_and_by_nobody_else() {
        let orders = [Order::Take(7), Order::Back(7, "a: b\nc".to_owned())];
        for order in orders {
            let value = order.value(100);
            assert_eq!(Order::read(&value, 100, Some(1)), Some(order));
            assert_eq!(Order::read(&value, 101, Some(100)), None);
        }
        let value = Order::Check.value(100);
        assert_eq!(Order::read(&value, 101, Some(100)), Some(Order::Check));
        assert_eq!(Order::read(&value, 100, Some(1)), None);
        assert_eq!(Order::read(&value, 101, None), None);
    }

    #[test]
    fn what_is_no_order_is_none() {
        for value in [
            "", "check", "take:1", "take:1:x", "back:1:3", "walk:1:3", "check:x",
        ] {
            assert_eq!(Order::read(value, 1, Some(1)), None, "{value}");
        }
    }
}
